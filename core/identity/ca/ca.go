package ca

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"time"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/identity"
	"github.com/instarhq/instar/core/identity/keyfile"
)

const (
	// Lifetime of an authority's own certificate.
	Lifetime = 10 * 365 * 24 * time.Hour
	// Skew is how far the clocks of two machines may be apart: certificates begin so much in the past.
	Skew = 5 * time.Minute

	certBlock = "CERTIFICATE"
	keyBlock  = "PRIVATE KEY"
	reqBlock  = "CERTIFICATE REQUEST"
)

// CA signs certificates for one cluster. Safe for concurrent use.
type CA struct {
	cert    *x509.Certificate
	key     *ecdsa.PrivateKey
	cluster string // its id
}

// New makes an authority. name is the cluster's, for people; id goes into every certificate.
func New(name, id string, now time.Time) (*CA, error) {
	if err := identity.CheckClusterID(id); err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make the CA's key: %w", err)
	}
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		// The serial number tells authorities of one cluster apart for people and for chain building.
		Subject:   pkix.Name{Organization: []string{"instar " + name}, CommonName: "instar CA " + id, SerialNumber: identity.Serial(serial)},
		NotBefore: now.Add(-Skew), NotAfter: now.Add(Lifetime),
		IsCA: true, BasicConstraintsValid: true, MaxPathLen: 0, MaxPathLenZero: true,
		KeyUsage:                    x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		PermittedDNSDomainsCritical: true, // critical are all name constraints, in spite of its name
		PermittedURIDomains:         []string{id},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("sign the CA's certificate: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("read the CA's certificate back: %w", err)
	}
	return &CA{cert: cert, key: key, cluster: id}, nil
}

// Parse reads what Marshal gave.
func Parse(data []byte) (*CA, error) {
	c := &CA{}
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		switch block.Type {
		case certBlock:
			cert, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				return nil, core.Errorf(core.CodeCorrupt, "the CA's certificate does not decode: %w", err)
			}
			c.cert = cert
		case keyBlock:
			key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
			if err != nil {
				return nil, core.Errorf(core.CodeCorrupt, "the CA's key does not decode: %w", err)
			}
			c.key, _ = key.(*ecdsa.PrivateKey)
		}
	}
	if c.cert == nil || c.key == nil {
		return nil, core.Errorf(core.CodeCorrupt, "a CA is a certificate and an ECDSA key, PEM; one of them is not there")
	}
	if !c.key.PublicKey.Equal(c.cert.PublicKey) {
		return nil, core.Errorf(core.CodeCorrupt, "the CA's key does not belong to its certificate")
	}
	if !c.cert.IsCA || len(c.cert.PermittedURIDomains) != 1 {
		return nil, core.Errorf(core.CodeCorrupt, "certificate %s is no CA of an instar cluster", identity.Serial(c.cert.SerialNumber))
	}
	c.cluster = c.cert.PermittedURIDomains[0]
	return c, nil
}

// Marshal gives certificate and key, PEM. Whoever has it can make members.
func (c *CA) Marshal() ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(c.key)
	if err != nil {
		return nil, fmt.Errorf("encode the CA's key: %w", err)
	}
	return append([]byte(c.PEM()), pem.EncodeToMemory(&pem.Block{Type: keyBlock, Bytes: der})...), nil
}

// Save writes the authority to a file that only its owner can read.
func (c *CA) Save(path string) error {
	data, err := c.Marshal()
	if err != nil {
		return err
	}
	return keyfile.Write(path, data, keyfile.Secret)
}

// Load reads a file of Save. CodeNotFound if there is none: this node does not sign.
func Load(path string) (*CA, error) {
	data, err := keyfile.ReadSecret(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, core.Errorf(core.CodeNotFound, "there is no CA key at %s", path).WithHint("voters have it; workers do not")
	}
	if err != nil {
		return nil, fmt.Errorf("CA key: %w", err)
	}
	c, err := Parse(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

// PEM is the authority's certificate.
func (c *CA) PEM() string { return Encode(c.cert) }

// Digest names the authority: SHA-256 of its certificate, DER.
func (c *CA) Digest() core.Digest { return DigestOf(c.cert) }

// ClusterID is the id of the cluster that it signs for.
func (c *CA) ClusterID() string { return c.cluster }

// NotAfter is when it expires.
func (c *CA) NotAfter() time.Time { return c.cert.NotAfter }

// DigestOf is the digest of a certificate, as `openssl x509 -fingerprint -sha256` has it, in lower case.
func DigestOf(cert *x509.Certificate) core.Digest {
	return core.Digest(fmt.Sprintf("sha256:%x", sha256.Sum256(cert.Raw)))
}

// ParseBundle reads certificates of authorities, PEM, one or more in each text. Every one must be a CA.
func ParseBundle(pems ...string) ([]*x509.Certificate, error) {
	var out []*x509.Certificate
	for _, text := range pems {
		rest := []byte(text)
		for {
			var block *pem.Block
			if block, rest = pem.Decode(rest); block == nil {
				break
			}
			cert, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				return nil, core.Errorf(core.CodeInvalid, "a CA's certificate does not decode: %w", err)
			}
			if block.Type != certBlock || !cert.IsCA {
				return nil, core.Errorf(core.CodeInvalid, "certificate %s is not one of a CA", identity.Serial(cert.SerialNumber))
			}
			out = append(out, cert)
		}
		if len(bytes.TrimSpace(rest)) > 0 {
			return nil, core.Errorf(core.CodeInvalid, "there is something else than PEM among the CA's certificates")
		}
	}
	if len(out) == 0 {
		return nil, core.Errorf(core.CodeInvalid, "there is no CA certificate")
	}
	return out, nil
}

// Encode gives a certificate as PEM.
func Encode(cert *x509.Certificate) string { return encode(cert.Raw) }

func encode(der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: certBlock, Bytes: der}))
}

// newSerial gives 127 random bits, never 0.
func newSerial() (*big.Int, error) {
	limit := new(big.Int).Lsh(big.NewInt(1), 127)
	n, err := rand.Int(rand.Reader, limit.Sub(limit, big.NewInt(1)))
	if err != nil {
		return nil, fmt.Errorf("make a serial number: %w", err)
	}
	return n.Add(n, big.NewInt(1)), nil
}
