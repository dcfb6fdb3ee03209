package ca_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/instarhq/instar/core/identity"
	"github.com/instarhq/instar/core/identity/ca"
)

// openssl runs the tool and returns what it says; its verdict is whether err is nil.
func openssl(t *testing.T, args ...string) (string, error) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "openssl", args...).CombinedOutput()
	return string(out), err
}

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// Another implementation of X.509 is the judge of what the authority signs.
func TestOpenSSLVerifies(t *testing.T) {
	now := time.Now()
	authority, err := ca.New("prod", cluster, now)
	if err != nil {
		t.Fatal(err)
	}
	other, err := ca.New("prod", cluster, now)
	if err != nil {
		t.Fatal(err)
	}
	node, err := authority.SignNode(request(t, &x509.CertificateRequest{DNSNames: []string{"n1.example.org"}}), "n1", now)
	if err != nil {
		t.Fatal(err)
	}
	client, err := authority.SignClient(request(t, &x509.CertificateRequest{}), "00112233445566aa", now, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	old, err := authority.SignNode(request(t, &x509.CertificateRequest{}), "n1", now.Add(-100*24*time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	mine, others := write(t, "ca.crt", authority.PEM()), write(t, "other.crt", other.PEM())
	both := write(t, "bundle.crt", other.PEM()+authority.PEM())
	tests := []struct {
		name, cert, ca string
		args           []string
		good           bool
	}{
		{"a node serves", node.PEM, mine, []string{"-purpose", "sslserver", "-verify_hostname", "n1.example.org"}, true},
		{"a node calls", node.PEM, mine, []string{"-purpose", "sslclient"}, true},
		{"a client calls", client.PEM, mine, []string{"-purpose", "sslclient"}, true},
		{"after a rotation", node.PEM, both, nil, true},
		{"a client does not serve", client.PEM, mine, []string{"-purpose", "sslserver"}, false},
		{"another name", node.PEM, mine, []string{"-verify_hostname", "n2.example.org"}, false},
		{"another CA", node.PEM, others, nil, false},
		{"expired", old.PEM, mine, nil, false},
		{"a foreign cluster's name", foreign(t, authority, now), mine, nil, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			args := append([]string{"verify", "-x509_strict", "-CAfile", tt.ca}, tt.args...)
			out, err := openssl(t, append(args, write(t, "cert.pem", tt.cert))...)
			if (err == nil) != tt.good {
				t.Errorf("openssl says %q, %v", out, err)
			}
		})
	}
	text, err := openssl(t, "x509", "-in", write(t, "cert.pem", node.PEM), "-noout", "-serial", "-ext", "subjectAltName")
	if err != nil || !strings.Contains(text, "URI:instar://"+cluster+"/node/n1") {
		t.Errorf("openssl shows %q, %v", text, err)
	}
	if serial := strings.TrimLeft(strings.ToLower(text[strings.Index(text, "serial=")+7:strings.Index(text, "\n")]), "0"); serial != node.Serial {
		t.Errorf("serial %s, openssl says %s", node.Serial, serial)
	}
	fingerprint, err := openssl(t, "x509", "-in", mine, "-noout", "-fingerprint", "-sha256")
	hex := strings.ToLower(strings.ReplaceAll(strings.TrimSpace(fingerprint[strings.Index(fingerprint, "=")+1:]), ":", ""))
	if err != nil || "sha256:"+hex != string(authority.Digest()) {
		t.Errorf("digest %s, openssl says %s, %v", authority.Digest(), hex, err)
	}
}

// foreign is what somebody who has stolen a CA's key could sign: a member of another cluster.
func foreign(t *testing.T, authority *ca.CA, now time.Time) string {
	t.Helper()
	data, err := authority.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	_, rest := pem.Decode(data)
	block, _ := pem.Decode(rest)
	stolen, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	name := identity.Name{Cluster: "ffffffffffffffff", Kind: identity.KindNode, ID: "n1"}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: "n1"}, URIs: []*url.URL{name.URI()},
		NotBefore: now.Add(-time.Minute), NotAfter: now.Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parse(t, authority.PEM()), key.Public(), stolen)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(parse(t, authority.PEM()))
	text := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	if _, err := parse(t, text).Verify(x509.VerifyOptions{Roots: roots, CurrentTime: now}); err == nil {
		t.Error("Go accepts it")
	}
	return text
}
