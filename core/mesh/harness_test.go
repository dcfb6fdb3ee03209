package mesh_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/instarhq/instar/core/identity"
	"github.com/instarhq/instar/core/mesh"
)

// limit is how long a test waits for something that should take no time.
const limit = 30 * time.Second

// authority is a cluster's CA and its knowledge of who is out.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey

	mu      sync.Mutex
	serial  int64
	revoked map[string]bool
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t, key: newKey(t), revoked: map[string]bool{}}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ca"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, a.key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return a
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// issue makes the credentials of a node, with change applied to its certificate.
func (a *authority) issue(node string, change func(*x509.Certificate)) *credentials {
	a.t.Helper()
	a.mu.Lock()
	a.serial++
	serial := a.serial + 1
	a.mu.Unlock()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: node}, DNSNames: []string{node},
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if change != nil {
		change(template)
	}
	key := newKey(a.t)
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	return &credentials{authority: a, cert: tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, serial: template.SerialNumber.String()}
}

func (a *authority) revoke(c *credentials) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.revoked[c.serial] = true
}

type credentials struct {
	*authority
	cert   tls.Certificate
	serial string
	trust  *authority // whom to believe; nil: the own
}

func (c *credentials) Server(alpn ...string) *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{c.cert}, NextProtos: alpn, ClientAuth: tls.RequireAnyClientCert, MinVersion: tls.VersionTLS13}
}

func (c *credentials) Joining(alpn ...string) *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{c.cert}, NextProtos: alpn, MinVersion: tls.VersionTLS13}
}

func (c *credentials) Client(_ string, alpn ...string) *tls.Config {
	return &tls.Config{
		Certificates: []tls.Certificate{c.cert}, NextProtos: alpn, MinVersion: tls.VersionTLS13,
		InsecureSkipVerify: true, //nolint:gosec // Peer verifies
	}
}

func (c *credentials) Peer(state tls.ConnectionState, _ x509.ExtKeyUsage) (identity.Peer, error) {
	leaf := state.PeerCertificates[0]
	a := c.authority
	if c.trust != nil {
		a = c.trust
	}
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: pool, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}); err != nil {
		return identity.Peer{}, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.revoked[leaf.SerialNumber.String()] {
		return identity.Peer{}, errors.New("revoked")
	}
	return identity.Peer{Node: leaf.Subject.CommonName}, nil
}

// network is where the nodes of a test are.
type network struct {
	t  *testing.T
	mu sync.Mutex
	at map[string]string
}

func (n *network) resolve(node string) (string, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	address, ok := n.at[node]
	return address, ok
}

// start runs a mesh until the test ends.
func (n *network) start(node string, c mesh.Credentials, limits mesh.Limits, register func(*mesh.Mesh)) *mesh.Mesh {
	n.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		n.t.Fatal(err)
	}
	m := mesh.New(l, mesh.Config{Node: node, Credentials: c, Resolve: n.resolve, Limits: limits})
	if register != nil {
		register(m)
	}
	n.mu.Lock()
	if n.at == nil {
		n.at = map[string]string{}
	}
	n.at[node] = l.Addr().String()
	n.mu.Unlock()
	served := make(chan error, 1)
	go func() { served <- m.Serve() }()
	n.t.Cleanup(func() {
		if err := errors.Join(m.Close(), <-served); err != nil {
			n.t.Error(err)
		}
	})
	return m
}

// broken waits until the other end has closed a connection.
func broken(t *testing.T, c net.Conn) bool {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(limit)); err != nil {
		return true
	}
	_, err := c.Read(make([]byte, 1))
	var timeout net.Error
	return err != nil && (!errors.As(err, &timeout) || !timeout.Timeout())
}
