package ca_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/identity"
	"github.com/instarhq/instar/core/identity/ca"
)

const cluster = "0123456789abcdef"

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func newCA(t *testing.T) *ca.CA {
	t.Helper()
	c, err := ca.New("prod", cluster, noon)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// request makes a certificate request with a fresh key of the right kind.
func request(t *testing.T, template *x509.CertificateRequest) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, template, key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
}

func parse(t *testing.T, text string) *x509.Certificate {
	t.Helper()
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		t.Fatalf("no PEM: %q", text)
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func TestSavedAuthorityIsTheSame(t *testing.T) {
	made := newCA(t)
	path := filepath.Join(t.TempDir(), "identity", "ca.key")
	if err := made.Save(path); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("the file is %v, %v", info.Mode(), err)
	}
	loaded, err := ca.Load(path)
	if err != nil || loaded.Digest() != made.Digest() || loaded.ClusterID() != cluster || loaded.PEM() != made.PEM() {
		t.Fatalf("loaded %+v, %v", loaded, err)
	}
	issued, err := loaded.SignNode(request(t, &x509.CertificateRequest{}), "n1", noon)
	if err != nil {
		t.Fatal(err)
	}
	if err := parse(t, issued.PEM).CheckSignatureFrom(parse(t, made.PEM())); err != nil {
		t.Error(err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := ca.Load(path); core.CodeOf(err) != core.CodeDenied {
		t.Errorf("a key that others can read is used: %v", err)
	}
	if _, err := ca.Load(path + "x"); core.CodeOf(err) != core.CodeNotFound {
		t.Errorf("a file that is not there: %v", err)
	}
}

func TestDamagedAuthorityIsRefused(t *testing.T) {
	text := func(c *ca.CA) string {
		data, err := c.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	one, two := text(newCA(t)), text(newCA(t))
	cut, other := strings.Index(one, "-----BEGIN PRIVATE KEY"), strings.Index(two, "-----BEGIN PRIVATE KEY")
	if cut < 0 || other < 0 {
		t.Fatal("there is no key in it")
	}
	damaged := map[string]string{
		"nothing": "", "no key": one[:cut], "no certificate": one[cut:], "cut off": one[:len(one)-40],
		"another's key": one[:cut] + two[other:],
	}
	for name, data := range damaged {
		if _, err := ca.Parse([]byte(data)); core.CodeOf(err) != core.CodeCorrupt {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestNodeCertificate(t *testing.T) {
	c := newCA(t)
	issued, err := c.SignNode(request(t, &x509.CertificateRequest{DNSNames: []string{"n1", "n1.example.org"}}), "n1", noon)
	if err != nil {
		t.Fatal(err)
	}
	cert := parse(t, issued.PEM)
	peer, err := identity.PeerOf(cert)
	want := identity.Peer{Node: "n1", ClusterID: cluster, Serial: issued.Serial, NotAfter: issued.NotAfter}
	if err != nil || peer != want {
		t.Errorf("peer %+v, %v; want %+v", peer, err, want)
	}
	if !cert.NotBefore.Equal(noon.Add(-ca.Skew)) || !cert.NotAfter.Equal(noon.Add(90*24*time.Hour)) || cert.IsCA {
		t.Errorf("valid from %s to %s, CA %v", cert.NotBefore, cert.NotAfter, cert.IsCA)
	}
	if cert.VerifyHostname("n1.example.org") != nil || cert.VerifyHostname("n2") == nil {
		t.Error("the host names are not those that were asked for")
	}
}

func TestRequestIsRefused(t *testing.T) {
	c := newCA(t)
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, rsaKey)
	if err != nil {
		t.Fatal(err)
	}
	good := request(t, &x509.CertificateRequest{})
	block, _ := pem.Decode(good)
	forged := append([]byte{}, block.Bytes...)
	forged[len(forged)-3] ^= 1
	many := make([]string, 40)
	for i := range many {
		many[i] = "a"
	}
	tests := map[string]struct {
		csr  []byte
		node string
	}{
		"nothing":           {nil, "n1"},
		"a certificate":     {[]byte(c.PEM()), "n1"},
		"two requests":      {append(append([]byte{}, good...), good...), "n1"},
		"RSA":               {pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}), "n1"},
		"forged":            {pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: forged}), "n1"},
		"wildcard":          {request(t, &x509.CertificateRequest{DNSNames: []string{"*.example.org"}}), "n1"},
		"many names":        {request(t, &x509.CertificateRequest{DNSNames: many}), "n1"},
		"a path for a name": {good, "n1/../../client/x"},
		"no name":           {good, ""},
	}
	for name, tt := range tests {
		if issued, err := c.SignNode(tt.csr, tt.node, noon); core.CodeOf(err) != core.CodeInvalid {
			t.Errorf("%s: signed %s, %v", name, issued.Serial, err)
		}
	}
}

func TestCertificateDoesNotOutliveItsAuthority(t *testing.T) {
	c := newCA(t)
	late := noon.Add(ca.Lifetime - 24*time.Hour)
	issued, err := c.SignNode(request(t, &x509.CertificateRequest{}), "n1", late)
	if err != nil || !issued.NotAfter.Equal(c.NotAfter()) {
		t.Errorf("valid until %s, the CA until %s; %v", issued.NotAfter, c.NotAfter(), err)
	}
	if _, err := c.SignNode(request(t, &x509.CertificateRequest{}), "n1", noon.Add(ca.Lifetime+time.Hour)); core.CodeOf(err) != core.CodeUnavailable {
		t.Errorf("an expired CA signs: %v", err)
	}
}

func TestBundle(t *testing.T) {
	one, two := newCA(t), newCA(t)
	got, err := ca.ParseBundle(one.PEM()+two.PEM(), one.PEM())
	if err != nil || len(got) != 3 || ca.DigestOf(got[1]) != two.Digest() {
		t.Errorf("%d certificates, %v", len(got), err)
	}
	issued, err := one.SignNode(request(t, &x509.CertificateRequest{}), "n1", noon)
	if err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string]string{"nothing": "", "a node's": issued.PEM, "text behind it": one.PEM() + "x"} {
		if _, err := ca.ParseBundle(bad); core.CodeOf(err) != core.CodeInvalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}
