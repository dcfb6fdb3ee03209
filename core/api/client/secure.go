package client

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/instarhq/instar/core"
)

// Options say how to reach a daemon, and as whom.
type Options struct {
	Address string // unix:///PATH, https://HOST:PORT or http://HOST:PORT
	// Token is shown with every request; empty: none. It is never sent over a connection that others could
	// read: http only to a loopback address.
	Token string
	// CA is the certificates of the cluster's CA, PEM. A server under it is believed if it is a node of the
	// cluster, whatever name it is reached by. Empty, and no digest: an https server is checked as any
	// other one on the web.
	CA string
	// CADigest knows the CA by its SHA-256, "sha256:…"; servers of instar send the certificate along.
	CADigest string
	// Certificate and Key, PEM, are shown to the server; empty: none.
	Certificate, Key string
}

// Open makes a client. It does not connect.
func Open(o Options) (*Client, error) {
	e, err := parseAddress(o.Address)
	if err != nil {
		return nil, err
	}
	secure := strings.HasPrefix(e.base, "https://")
	if secure {
		if e.transport.TLSClientConfig, err = o.tls(); err != nil {
			return nil, err
		}
		e.transport.ForceAttemptHTTP2 = true
	}
	c := &Client{endpoint: e, http: &http.Client{Transport: e.transport, CheckRedirect: neverRedirect}}
	if o.Token != "" {
		if !secure && !private(e) {
			return nil, core.Errorf(core.CodeInvalid, "a token is not sent to %s: everybody in between could read it", o.Address).WithHint("use https://")
		}
		c.http.Transport = bearer{token: strings.TrimSpace(o.Token), next: e.transport}
	}
	return c, nil
}

// neverRedirect keeps credentials where they were meant to go; the API does not redirect.
func neverRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// private reports whether nobody but this machine sees what is sent.
func private(e endpoint) bool {
	u, err := url.Parse(e.base)
	if err != nil {
		return false
	}
	ip := net.ParseIP(u.Hostname())
	return e.unix || u.Hostname() == "localhost" || (ip != nil && ip.IsLoopback())
}

// bearer shows a token with every request.
type bearer struct {
	token string
	next  http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (b bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+b.token)
	return b.next.RoundTrip(r)
}

func (o Options) tls() (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS13}
	if o.Certificate != "" || o.Key != "" {
		pair, err := tls.X509KeyPair([]byte(o.Certificate), []byte(o.Key))
		if err != nil {
			return nil, core.Errorf(core.CodeInvalid, "client certificate: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	if o.CA == "" && o.CADigest == "" {
		return c, nil
	}
	roots := x509.NewCertPool()
	if o.CA != "" && !roots.AppendCertsFromPEM([]byte(o.CA)) {
		return nil, core.Errorf(core.CodeInvalid, "there is no certificate in the CA that was given")
	}
	// Go's own check is about host names; every node may speak for the cluster, under any name.
	c.InsecureSkipVerify = true //nolint:gosec // VerifyConnection does it
	c.VerifyConnection = func(state tls.ConnectionState) error {
		trusted := roots
		if o.CA == "" {
			authority := find(state, o.CADigest)
			if authority == nil {
				return stranger(o.Address, "none of its certificates has the digest "+o.CADigest)
			}
			trusted = x509.NewCertPool()
			trusted.AddCert(authority)
		}
		return verify(o.Address, state.PeerCertificates[0], trusted)
	}
	return c, nil
}

// verify demands a node of the cluster.
func verify(address string, leaf *x509.Certificate, roots *x509.CertPool) error {
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}); err != nil {
		return stranger(address, err.Error())
	}
	if len(leaf.URIs) != 1 || leaf.URIs[0].Scheme != "instar" || !strings.HasPrefix(leaf.URIs[0].Path, "/node/") {
		return stranger(address, "its certificate is not one of a node")
	}
	return nil
}

func stranger(address, why string) error {
	return core.Errorf(core.CodeDenied, "%s is not a node of the cluster that was expected: %s", address, why).
		WithHint("the address is wrong, the cluster's CA has been replaced (instar login again), or somebody is in between")
}

// find looks for a CA by its digest among the certificates that a server has sent.
func find(state tls.ConnectionState, digest string) *x509.Certificate {
	for _, cert := range state.PeerCertificates {
		if cert.IsCA && digestOf(cert) == digest {
			return cert
		}
	}
	return nil
}

// DigestOf is the digest by which a CA's certificate, PEM, is known.
func DigestOf(certificate string) (string, error) {
	block, _ := pem.Decode([]byte(certificate))
	if block == nil {
		return "", core.Errorf(core.CodeInternal, "the CA's certificate does not decode")
	}
	return fmt.Sprintf("sha256:%x", sha256.Sum256(block.Bytes)), nil
}

func digestOf(cert *x509.Certificate) string {
	return fmt.Sprintf("sha256:%x", sha256.Sum256(cert.Raw))
}

// Authority is a cluster's CA as a server has shown it.
type Authority struct {
	PEM    string
	Digest string
}

// Inspect asks a server for its cluster's CA, without trusting it: whoever goes on compares the digest with
// one from a better source. It sends nothing but a TLS handshake.
func Inspect(ctx context.Context, address string) (Authority, error) {
	e, err := parseAddress(address)
	if err != nil {
		return Authority{}, err
	}
	host := strings.TrimPrefix(e.base, "https://")
	dialer := tls.Dialer{NetDialer: &net.Dialer{Timeout: 10 * time.Second}, Config: &tls.Config{
		MinVersion: tls.VersionTLS13, InsecureSkipVerify: true, //nolint:gosec // nothing is believed
	}}
	conn, err := dialer.DialContext(ctx, "tcp", host)
	if err != nil {
		return Authority{}, core.Errorf(core.CodeUnavailable, "no instard answers at %s: %w", address, fmt.Errorf("%w: %w", ErrUnreachable, err)).
			WithHint("is it the API address of a node, and is the node a member of a cluster?")
	}
	defer func() { _ = conn.Close() }() // nothing was said
	state := conn.(*tls.Conn).ConnectionState()
	for _, cert := range state.PeerCertificates {
		roots := x509.NewCertPool()
		roots.AddCert(cert)
		if cert.IsCA && verify(address, state.PeerCertificates[0], roots) == nil {
			text := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}))
			return Authority{PEM: text, Digest: digestOf(cert)}, nil
		}
	}
	return Authority{}, core.Errorf(core.CodeDenied, "%s is not a node of an instar cluster: it shows no CA", address)
}
