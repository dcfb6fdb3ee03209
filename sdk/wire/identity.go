package wire

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"time"
)

// serverName is the name in every certificate of a launch; the certificates are pinned, so it only
// satisfies TLS.
const serverName = "localhost"

// Identity is a key pair with a self-signed certificate, made for one launch of one driver. Each side of
// the socket has one and accepts only the other's. It never expires (RFC 5280, 4.1.2.5): a driver may run
// for years, through any jump of the clock, and dies with its key.
type Identity struct {
	Certificate []byte // PEM
	Key         []byte // PEM, PKCS #8
}

// NewIdentity makes a fresh key pair; name is for a person who looks at the certificate.
func NewIdentity(name string) (Identity, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Identity{}, fmt.Errorf("key for %s: %w", name, err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return Identity{}, fmt.Errorf("serial number for %s: %w", name, err)
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: name},
		DNSNames:     []string{serverName},
		NotBefore:    time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC),
		NotAfter:     time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC),
		KeyUsage:     x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		IsCA:         true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return Identity{}, fmt.Errorf("certificate for %s: %w", name, err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return Identity{}, fmt.Errorf("key for %s: %w", name, err)
	}
	return Identity{
		Certificate: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		Key:         pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}),
	}, nil
}

// ServerTLS is the driver's side: it presents own and accepts the peer's certificate alone.
func ServerTLS(own Identity, peer []byte) (*tls.Config, error) {
	pair, pool, err := pinned(own, peer)
	if err != nil {
		return nil, err
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{pair},
		ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool,
	}, nil
}

// ClientTLS is the daemon's side: it presents own and accepts the peer's certificate alone.
func ClientTLS(own Identity, peer []byte) (*tls.Config, error) {
	pair, pool, err := pinned(own, peer)
	if err != nil {
		return nil, err
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{pair},
		RootCAs: pool, ServerName: serverName,
	}, nil
}

func pinned(own Identity, peer []byte) (tls.Certificate, *x509.CertPool, error) {
	pair, err := tls.X509KeyPair(own.Certificate, own.Key)
	if err != nil {
		return tls.Certificate{}, nil, fmt.Errorf("own key pair: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(peer) {
		return tls.Certificate{}, nil, errors.New("the peer's certificate is not PEM")
	}
	return pair, pool, nil
}
