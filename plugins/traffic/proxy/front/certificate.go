package front

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

// recheck is how often, at most, a handshake looks whether the files have changed.
const recheck = time.Second

// Certificate is a key pair in files. It is loaded again when they change.
type Certificate struct {
	CertFile, KeyFile string

	mu      sync.Mutex
	pair    *tls.Certificate
	stamp   [2]stamp
	checked time.Time
}

// stamp tells one version of a file from another.
type stamp struct {
	modified time.Time
	size     int64
}

// LoadCertificate reads a key pair; the error names the file that is to blame.
func LoadCertificate(certFile, keyFile string) (*Certificate, error) {
	c := &Certificate{CertFile: certFile, KeyFile: keyFile}
	stamps, err := c.stamps()
	if err != nil {
		return nil, err
	}
	if c.pair, err = c.load(); err != nil {
		return nil, err
	}
	c.stamp, c.checked = stamps, time.Now()
	return c, nil
}

func (c *Certificate) load() (*tls.Certificate, error) {
	pair, err := tls.LoadX509KeyPair(c.CertFile, c.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("certificate %s with key %s: %w", c.CertFile, c.KeyFile, err)
	}
	if pair.Leaf == nil {
		if pair.Leaf, err = x509.ParseCertificate(pair.Certificate[0]); err != nil {
			return nil, fmt.Errorf("certificate %s: %w", c.CertFile, err)
		}
	}
	return &pair, nil
}

func (c *Certificate) stamps() (s [2]stamp, err error) {
	for i, name := range []string{c.CertFile, c.KeyFile} {
		info, err := os.Stat(name)
		if err != nil {
			return s, err
		}
		s[i] = stamp{info.ModTime(), info.Size()}
	}
	return s, nil
}

// current returns the pair, loaded again if its files have changed. A pair that cannot be loaded, because
// only one of the files was replaced yet, leaves the one before in force and is tried again.
func (c *Certificate) current(logger hclog.Logger) *tls.Certificate {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := time.Now(); now.Sub(c.checked) >= recheck {
		c.checked = now
		stamps, err := c.stamps()
		if err == nil && stamps != c.stamp {
			var pair *tls.Certificate
			if pair, err = c.load(); err == nil {
				c.pair, c.stamp = pair, stamps
				logger.Info("certificate loaded again", "file", c.CertFile)
			}
		}
		if err != nil {
			logger.Warn("the certificate stays as it was", "error", err)
		}
	}
	return c.pair
}

// Certificates are those of one listener, by host.
type Certificates struct {
	byHost map[string]*Certificate // "" for routes of any host
	all    []*Certificate
	logger hclog.Logger
}

// NewCertificates makes the set of a listener from its routes' hosts.
func NewCertificates(byHost map[string]*Certificate, logger hclog.Logger) *Certificates {
	c := &Certificates{byHost: byHost, logger: logger}
	for _, cert := range byHost {
		c.all = append(c.all, cert)
	}
	slices.SortFunc(c.all, func(a, b *Certificate) int { return strings.Compare(a.CertFile, b.CertFile) })
	return c
}

var errNoCertificate = errors.New("no certificate for this name")

// Choose picks the certificate for a handshake: that of the route with exactly this host, then that of a
// route for any host, then any that is valid for the name, then any.
func (c *Certificates) Choose(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	name := strings.TrimSuffix(strings.ToLower(hello.ServerName), ".")
	if cert, ok := c.byHost[name]; ok {
		return cert.current(c.logger), nil
	}
	if cert, ok := c.byHost[""]; ok {
		return cert.current(c.logger), nil
	}
	for _, cert := range c.all {
		if pair := cert.current(c.logger); pair.Leaf.VerifyHostname(name) == nil {
			return pair, nil
		}
	}
	if len(c.all) > 0 && name == "" {
		return c.all[0].current(c.logger), nil
	}
	return nil, errNoCertificate
}
