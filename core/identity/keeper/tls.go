package keeper

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"time"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/identity"
	"github.com/instarhq/instar/core/identity/ca"
)

// Server is for ports where only members speak: both sides show a certificate.
func (k *Keeper) Server(alpn ...string) *tls.Config {
	c := k.serving(alpn)
	c.ClientAuth = tls.RequireAnyClientCert
	c.VerifyConnection = func(state tls.ConnectionState) error {
		_, err := k.Peer(state, x509.ExtKeyUsageClientAuth)
		return err
	}
	return c
}

// Joining is for ports that machines without a certificate may call: the node proves itself, and asks for
// nothing (joining).
func (k *Keeper) Joining(alpn ...string) *tls.Config { return k.serving(alpn) }

// API is for the port that people and programs call: a client's certificate is taken if there is one, and
// judged at each request (see core/api), so that it can be refused with an explanation.
func (k *Keeper) API(alpn ...string) *tls.Config {
	c := k.serving(alpn)
	c.ClientAuth = tls.RequestClientCert
	return c
}

func (k *Keeper) serving(alpn []string) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, NextProtos: alpn,
		// A resumed session would go on under the certificate of its first handshake.
		SessionTicketsDisabled: true,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			m := k.material()
			if m == nil {
				return nil, errNone()
			}
			return &m.cert, nil
		},
	}
}

// Client is for calling a member; node is the name that it must have, empty for any member. The address
// that it is reached by plays no part.
func (k *Keeper) Client(node string, alpn ...string) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, NextProtos: alpn,
		// Go's own check is about host names; VerifyConnection does all of ours.
		InsecureSkipVerify: true, //nolint:gosec // see above
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			m := k.material()
			if m == nil {
				return nil, errNone()
			}
			return &m.cert, nil
		},
		VerifyConnection: func(state tls.ConnectionState) error {
			peer, err := k.Peer(state, x509.ExtKeyUsageServerAuth)
			if err != nil {
				return err
			}
			if node != "" && peer.Node != node {
				return core.Errorf(core.CodeDenied, "node %q was called, %q answers", node, peer.Node).
					WithHint("is the address in the member's entry still that node's?")
			}
			return nil
		},
	}
}

// Peer verifies who is at the other end of a connection: under a CA of the bundle, for this usage, valid
// now, of this cluster, a node, and accepted by the check of SetCheck.
func (k *Keeper) Peer(state tls.ConnectionState, usage x509.ExtKeyUsage) (identity.Peer, error) {
	m := k.material()
	if m == nil {
		return identity.Peer{}, errNone()
	}
	if len(state.PeerCertificates) == 0 {
		return identity.Peer{}, core.Errorf(core.CodeDenied, "the peer has shown no certificate")
	}
	leaf := state.PeerCertificates[0]
	if err := m.verify(leaf, k.Now(), usage); err != nil {
		return identity.Peer{}, err
	}
	peer, err := identity.PeerOf(leaf)
	if err != nil {
		return identity.Peer{}, err
	}
	k.mu.RLock()
	check := k.check
	k.mu.RUnlock()
	if check != nil {
		if err := check(peer); err != nil {
			return identity.Peer{}, err
		}
	}
	return peer, nil
}

// verify checks a certificate of this cluster, be it a node's or a client's.
func (m *material) verify(leaf *x509.Certificate, now time.Time, usage x509.ExtKeyUsage) error {
	_, err := leaf.Verify(x509.VerifyOptions{Roots: m.pool, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{usage}})
	if err != nil {
		return explain(leaf, now, err)
	}
	name, err := identity.NameOf(leaf)
	if err != nil {
		return err
	}
	if name.Cluster != m.self.ClusterID {
		return core.Errorf(core.CodeDenied, "the certificate is of cluster %s, this is cluster %s", name.Cluster, m.self.ClusterID)
	}
	return nil
}

// explain says in words what Go's verification has found.
func explain(leaf *x509.Certificate, now time.Time, err error) error {
	serial := identity.Serial(leaf.SerialNumber)
	var invalid x509.CertificateInvalidError
	var unknown x509.UnknownAuthorityError
	switch {
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired && now.Before(leaf.NotBefore):
		return core.Errorf(core.CodeDenied, "certificate %s is valid from %s on: %w", serial, leaf.NotBefore.Format(time.RFC3339), err).
			WithHint("compare the clocks of the two machines")
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return core.Errorf(core.CodeDenied, "certificate %s expired on %s: %w", serial, leaf.NotAfter.Format(time.RFC3339), err)
	case errors.As(err, &unknown):
		return core.Errorf(core.CodeDenied, "certificate %s is not signed by this cluster's CA: %w", serial, err)
	}
	return core.Errorf(core.CodeDenied, "certificate %s: %w", serial, err)
}

// VerifyClient checks the certificate of an API client and gives the id of the Token object that says what
// its holder may do.
func (k *Keeper) VerifyClient(leaf *x509.Certificate) (token string, err error) {
	m := k.material()
	if m == nil {
		return "", errNone()
	}
	if err := m.verify(leaf, k.Now(), x509.ExtKeyUsageClientAuth); err != nil {
		return "", err
	}
	name, err := identity.NameOf(leaf)
	if err != nil {
		return "", err
	}
	if name.Kind != identity.KindClient {
		return "", core.Errorf(core.CodeDenied, "the certificate is of the node %q; nodes are no clients of the API", name.ID)
	}
	return name.ID, nil
}

// Pinned is for calling a member before there is anything but the digest of the cluster's CA: a machine
// that joins. got, if it is not nil, gets the CA's certificate, PEM, of each handshake that was right.
func Pinned(digest core.Digest, got func(caPEM string), alpn ...string) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, NextProtos: alpn,
		InsecureSkipVerify: true, //nolint:gosec // VerifyConnection checks against the digest
		VerifyConnection: func(state tls.ConnectionState) error {
			authority, err := pinned(state, digest, time.Now())
			if err == nil && got != nil {
				got(ca.Encode(authority))
			}
			return err
		},
	}
}

// pinned finds the CA with the digest in what the server has sent, and verifies the server under it.
func pinned(state tls.ConnectionState, digest core.Digest, now time.Time) (*x509.Certificate, error) {
	for _, authority := range state.PeerCertificates {
		if ca.DigestOf(authority) != digest || !authority.IsCA {
			continue
		}
		leaf := state.PeerCertificates[0]
		roots := x509.NewCertPool()
		roots.AddCert(authority)
		_, err := leaf.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
		if err != nil {
			return nil, explain(leaf, now, err)
		}
		_, err = identity.PeerOf(leaf)
		return authority, err
	}
	return nil, core.Errorf(core.CodeDenied, "the server is of another cluster: none of its certificates has the digest %s", digest).
		WithHint("the address is wrong, the token is of another cluster, or somebody is in between")
}
