package keeper

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/identity"
	"github.com/instarhq/instar/core/identity/ca"
	"github.com/instarhq/instar/core/identity/keyfile"
)

const (
	keyFile  = "node.key"
	nextFile = "node.key.next"
	certFile = "node.crt"
	caFile   = "ca.crt"
)

// Keeper is a node's identity. Safe for concurrent use.
type Keeper struct {
	dir string
	// Now is the clock that certificates are judged by; set it before the first use. Default time.Now.
	Now func() time.Time

	files sync.Mutex // held while files are written

	mu      sync.RWMutex
	check   func(identity.Peer) error
	current *material // nil: no certificate yet
	changed chan struct{}
}

// material is what a handshake needs. It never changes: a renewal makes another one.
type material struct {
	self   identity.Peer
	cert   tls.Certificate // with the CA's certificates after the leaf, for those who know them by digest
	bundle []*x509.Certificate
	pool   *x509.CertPool
}

// Open reads a directory. One that holds no certificate, or does not exist, is no error: see Installed. A
// renewal that a crash has cut off is completed or forgotten.
func Open(dir string) (*Keeper, error) {
	k := &Keeper{dir: dir, Now: time.Now, changed: make(chan struct{})}
	certPEM, err := os.ReadFile(k.file(certFile))
	if errors.Is(err, fs.ErrNotExist) {
		return k, nil
	}
	if err != nil {
		return nil, fmt.Errorf("node certificate: %w", err)
	}
	bundle, err := os.ReadFile(k.file(caFile))
	if err != nil {
		return nil, fmt.Errorf("CA certificates: %w", err)
	}
	key, err := k.keyOf(certPEM)
	if err != nil {
		return nil, err
	}
	if k.current, err = assemble(certPEM, key, string(bundle)); err != nil {
		return nil, core.Errorf(core.CodeCorrupt, "identity of the node in %s: %w", dir, err).
			WithHint("restore the directory, or remove it and join the cluster again")
	}
	return k, nil
}

func (k *Keeper) file(name string) string { return filepath.Join(k.dir, name) }

// keyOf finds the key of the certificate: node.key, or node.key.next if the crash was between the two.
func (k *Keeper) keyOf(certPEM []byte) ([]byte, error) {
	next, err := keyfile.ReadSecret(k.file(nextFile))
	if err == nil {
		if _, err := tls.X509KeyPair(certPEM, next); err == nil {
			return next, keyfile.Rename(k.file(nextFile), k.file(keyFile))
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("node key: %w", err)
	}
	key, err := keyfile.ReadSecret(k.file(keyFile))
	if err != nil {
		return nil, fmt.Errorf("node key: %w", err)
	}
	return key, nil
}

// assemble checks that key, certificate and bundle belong together.
func assemble(certPEM, key []byte, bundle string) (*material, error) {
	pair, err := tls.X509KeyPair(certPEM, key)
	if err != nil {
		return nil, core.Errorf(core.CodeInvalid, "certificate and key: %w", err)
	}
	self, err := identity.PeerOf(pair.Leaf)
	if err != nil {
		return nil, err
	}
	authorities, err := ca.ParseBundle(bundle)
	if err != nil {
		return nil, err
	}
	m := &material{self: self, bundle: authorities, pool: x509.NewCertPool()}
	m.cert = tls.Certificate{Certificate: [][]byte{pair.Leaf.Raw}, PrivateKey: pair.PrivateKey, Leaf: pair.Leaf}
	for _, a := range authorities {
		m.pool.AddCert(a)
		m.cert.Certificate = append(m.cert.Certificate, a.Raw)
	}
	// At its own NotBefore: one that is expired by now is still this node's, and says so when it is used.
	if err := m.verify(pair.Leaf, pair.Leaf.NotBefore, x509.ExtKeyUsageServerAuth); err != nil {
		return nil, err
	}
	return m, nil
}

// Installed reports whether the node has a certificate, expired or not.
func (k *Keeper) Installed() bool { return k.material() != nil }

// Self is who this node is; false as long as it has no certificate.
func (k *Keeper) Self() (identity.Peer, bool) {
	m := k.material()
	if m == nil {
		return identity.Peer{}, false
	}
	return m.self, true
}

// Leaf is the node's certificate; nil as long as it has none.
func (k *Keeper) Leaf() *x509.Certificate {
	if m := k.material(); m != nil {
		return m.cert.Leaf
	}
	return nil
}

// Bundle is the CA certificates that are trusted, as Cluster.CA has them.
func (k *Keeper) Bundle() []string {
	m := k.material()
	if m == nil {
		return nil
	}
	out := make([]string, len(m.bundle))
	for i, a := range m.bundle {
		out[i] = ca.Encode(a)
	}
	return out
}

// Changed is closed when certificate or bundle are replaced the next time.
func (k *Keeper) Changed() <-chan struct{} {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.changed
}

// SetCheck sets what else must hold for a peer whose certificate is right: that its node is a member, and
// that the serial number has not been revoked. It is called in every handshake.
func (k *Keeper) SetCheck(check func(identity.Peer) error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.check = check
}

func (k *Keeper) material() *material {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.current
}

func (k *Keeper) set(m *material) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.current = m
	close(k.changed)
	k.changed = make(chan struct{})
}

// SetBundle replaces the CA certificates. The node's own certificate must be under one of them.
func (k *Keeper) SetBundle(pems []string) error {
	k.files.Lock()
	defer k.files.Unlock()
	m := k.material()
	if m == nil {
		return errNone()
	}
	key, err := keyfile.ReadSecret(k.file(keyFile))
	if err != nil {
		return fmt.Errorf("node key: %w", err)
	}
	bundle := strings.Join(pems, "")
	if bundle == strings.Join(k.Bundle(), "") {
		return nil
	}
	next, err := assemble([]byte(ca.Encode(m.cert.Leaf)), key, bundle)
	if err != nil {
		return fmt.Errorf("CA certificates: %w", err)
	}
	if err := keyfile.Write(k.file(caFile), []byte(bundle), keyfile.Public); err != nil {
		return err
	}
	k.set(next)
	return nil
}

func errNone() error {
	return core.Errorf(core.CodeUnavailable, "this node has no certificate yet").
		WithHint("instar cluster init, or instar cluster join TOKEN")
}
