package cluster

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/instarhq/instar/core/identity"
)

// clientName is the load's name: a member of the mesh, and a user of etcd.
const clientName = "load"

// authority makes the certificates of one cluster.
type authority struct {
	dir    string
	cert   *x509.Certificate
	key    *ecdsa.PrivateKey
	serial int64
}

func newAuthority(dir string) (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	a := &authority{dir: dir, key: key}
	template := a.template("ca")
	template.IsCA, template.BasicConstraintsValid, template.KeyUsage = true, true, x509.KeyUsageCertSign
	a.cert = template
	der, err := a.write("ca", template, key)
	if err != nil {
		return nil, err
	}
	a.cert, err = x509.ParseCertificate(der)
	return a, err
}

func (a *authority) template(name string) *x509.Certificate {
	a.serial++
	return &x509.Certificate{
		SerialNumber: big.NewInt(a.serial), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name, "localhost"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore:   time.Now().Add(-time.Minute), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
}

// issue writes NAME.pem and NAME-key.pem.
func (a *authority) issue(name string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	_, err = a.write(name, a.template(name), key)
	return err
}

func (a *authority) write(name string, template *x509.Certificate, key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		return nil, err
	}
	private, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, err
	}
	return der, errors.Join(
		os.WriteFile(certFile(a.dir, name), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600),
		os.WriteFile(keyFile(a.dir, name), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: private}), 0o600),
	)
}

func certFile(dir, name string) string { return filepath.Join(dir, name+".pem") }
func keyFile(dir, name string) string  { return filepath.Join(dir, name+"-key.pem") }

// credentials are those of a node or the load: mesh.Credentials from files.
type credentials struct {
	cert tls.Certificate
	pool *x509.CertPool
}

func loadCredentials(dir, name string) (*credentials, error) {
	cert, err := tls.LoadX509KeyPair(certFile(dir, name), keyFile(dir, name))
	if err != nil {
		return nil, err
	}
	ca, err := os.ReadFile(certFile(dir, "ca"))
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(ca) {
		return nil, errors.New("no certificate in ca.pem")
	}
	return &credentials{cert: cert, pool: pool}, nil
}

// Server implements mesh.Credentials.
func (c *credentials) Server(alpn ...string) *tls.Config {
	return &tls.Config{
		Certificates: []tls.Certificate{c.cert}, NextProtos: alpn, MinVersion: tls.VersionTLS13,
		ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: c.pool,
	}
}

// Joining implements mesh.Credentials; nobody joins.
func (c *credentials) Joining(alpn ...string) *tls.Config { return c.Server(alpn...) }

// Client implements mesh.Credentials.
func (c *credentials) Client(node string, alpn ...string) *tls.Config {
	return &tls.Config{
		Certificates: []tls.Certificate{c.cert}, NextProtos: alpn, MinVersion: tls.VersionTLS13,
		RootCAs: c.pool, ServerName: node,
	}
}

// Peer implements mesh.Credentials; the handshake has verified the chain.
func (c *credentials) Peer(state tls.ConnectionState, _ x509.ExtKeyUsage) (identity.Peer, error) {
	if len(state.PeerCertificates) == 0 {
		return identity.Peer{}, errors.New("no certificate")
	}
	return identity.Peer{Node: state.PeerCertificates[0].Subject.CommonName}, nil
}
