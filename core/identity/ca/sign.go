package ca

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/identity"
)

const (
	// NodeLifetime of a member's certificate; it is renewed long before.
	NodeLifetime = 90 * 24 * time.Hour
	// maxAddresses bounds the DNS names and IP addresses of one certificate.
	maxAddresses = 32
)

// Issued is a signed certificate.
type Issued struct {
	PEM      string
	Serial   string // as in core.Certificate
	NotAfter time.Time
}

// Record is what the Member object keeps of it.
func (i Issued) Record() core.Certificate {
	return core.Certificate{Serial: i.Serial, NotAfter: i.NotAfter}
}

// SignNode answers a node's certificate request (PEM, as keeper.Request makes it). The name is the
// caller's to decide, whatever the request says; DNS names and IP addresses are those of the request: what
// people reach the node's API by. The certificate serves and calls.
func (c *CA) SignNode(csr []byte, node string, now time.Time) (Issued, error) {
	req, err := parseRequest(csr)
	if err != nil {
		return Issued{}, err
	}
	if len(req.DNSNames)+len(req.IPAddresses) > maxAddresses {
		return Issued{}, core.Errorf(core.CodeInvalid, "the certificate request of %q has more than %d addresses", node, maxAddresses)
	}
	for _, name := range req.DNSNames {
		if !validHost(name) {
			return Issued{}, core.Errorf(core.CodeInvalid, "the certificate request of %q asks for the DNS name %q, which is none", node, name)
		}
	}
	return c.sign(req, identity.Name{Cluster: c.cluster, Kind: identity.KindNode, ID: node}, now, NodeLifetime, &x509.Certificate{
		DNSNames: req.DNSNames, IPAddresses: req.IPAddresses,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	})
}

// SignClient answers a certificate request of a person or a pipeline. token is the id of the Token object
// that says which role the holder has: without the object the certificate is worth nothing, so deleting it
// revokes the certificate.
func (c *CA) SignClient(csr []byte, token string, now time.Time, lifetime time.Duration) (Issued, error) {
	req, err := parseRequest(csr)
	if err != nil {
		return Issued{}, err
	}
	if lifetime <= 0 {
		return Issued{}, core.Errorf(core.CodeInvalid, "a certificate must be valid for longer than %s", lifetime)
	}
	return c.sign(req, identity.Name{Cluster: c.cluster, Kind: identity.KindClient, ID: token}, now, lifetime, &x509.Certificate{
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
}

// sign completes a template; a certificate begins and ends within the life of its authority.
func (c *CA) sign(req *x509.CertificateRequest, name identity.Name, now time.Time, lifetime time.Duration, template *x509.Certificate) (Issued, error) {
	if err := name.Check(); err != nil {
		return Issued{}, err
	}
	if now.After(c.cert.NotAfter) {
		return Issued{}, core.Errorf(core.CodeUnavailable, "the cluster's CA expired on %s", c.cert.NotAfter.Format(time.DateOnly)).
			WithHint("docs/security.md says how to replace it")
	}
	serial, err := newSerial()
	if err != nil {
		return Issued{}, err
	}
	template.SerialNumber = serial
	template.Subject = pkix.Name{Organization: c.cert.Subject.Organization, CommonName: name.ID}
	template.URIs = []*url.URL{name.URI()}
	template.NotBefore, template.NotAfter = now.Add(-Skew), now.Add(lifetime).Truncate(time.Second)
	if template.NotBefore.Before(c.cert.NotBefore) { // signed by a voter whose clock is behind that of the first
		template.NotBefore = c.cert.NotBefore
	}
	if template.NotAfter.After(c.cert.NotAfter) {
		template.NotAfter = c.cert.NotAfter
	}
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.BasicConstraintsValid = true
	der, err := x509.CreateCertificate(rand.Reader, template, c.cert, req.PublicKey, c.key)
	if err != nil {
		return Issued{}, fmt.Errorf("sign the certificate of %s: %w", name, err)
	}
	return Issued{PEM: encode(der), Serial: identity.Serial(serial), NotAfter: template.NotAfter.UTC()}, nil
}

// parseRequest accepts one request with an ECDSA P-256 key whose holder has signed it.
func parseRequest(csr []byte) (*x509.CertificateRequest, error) {
	block, rest := pem.Decode(csr)
	if block == nil || block.Type != reqBlock || len(bytes.TrimSpace(rest)) > 0 {
		return nil, core.Errorf(core.CodeInvalid, "this is no certificate request: one PEM block %q is wanted", reqBlock)
	}
	req, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return nil, core.Errorf(core.CodeInvalid, "the certificate request does not decode: %w", err)
	}
	if err := req.CheckSignature(); err != nil {
		return nil, core.Errorf(core.CodeInvalid, "the certificate request is not signed by its own key: %w", err)
	}
	if key, ok := req.PublicKey.(*ecdsa.PublicKey); !ok || key.Curve != elliptic.P256() {
		return nil, core.Errorf(core.CodeInvalid, "the certificate request has a key of another kind than ECDSA P-256")
	}
	return req, nil
}

// validHost accepts host names: labels of letters, digits and inner hyphens; no wildcards.
func validHost(name string) bool {
	if name == "" || len(name) > 253 {
		return false
	}
	for label := range strings.SplitSeq(strings.ToLower(name), ".") {
		if label == "" || len(label) > 63 || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" ||
			label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
	}
	return true
}
