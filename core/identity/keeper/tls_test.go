package keeper_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/identity"
	"github.com/instarhq/instar/core/identity/ca"
	"github.com/instarhq/instar/core/identity/keeper"
)

const alpn = "instar-test/1"

func parse(t *testing.T, text string) *x509.Certificate {
	t.Helper()
	block, _ := pem.Decode([]byte(text))
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// shake connects two sides over a real socket and gives the errors that each has seen; a TLS 1.3 client
// learns of a refusal with its first read.
func shake(t *testing.T, server, client *tls.Config) (serverErr, clientErr error) {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", server)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	served := make(chan error, 1)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			served <- err
			return
		}
		defer func() { _ = conn.Close() }()
		err = conn.(*tls.Conn).HandshakeContext(context.Background())
		if err == nil {
			_, err = io.WriteString(conn, "hello")
		}
		served <- err
	}()
	dialer := tls.Dialer{NetDialer: &net.Dialer{Timeout: 30 * time.Second}, Config: client}
	conn, err := dialer.DialContext(t.Context(), "tcp", l.Addr().String())
	if err == nil {
		var got []byte
		if got, err = io.ReadAll(conn); err == nil && string(got) != "hello" {
			err = errors.New("the server has said nothing")
		}
		_ = conn.Close()
	}
	return <-served, err
}

func TestHandshake(t *testing.T) {
	now := time.Now()
	authority := newCA(t, cluster)
	sameID := newCA(t, cluster) // what somebody makes who only knows the cluster's id
	n1, n2 := member(t, authority, "n1", now), member(t, authority, "n2", now)
	expired := member(t, authority, "n2", now.Add(-ca.NodeLifetime-time.Hour))
	future := member(t, authority, "n2", now.Add(time.Hour))
	skewed := member(t, authority, "n2", now.Add(4*time.Minute))
	forged := member(t, sameID, "n2", now)
	foreign := member(t, newCA(t, "fedcba9876543210"), "n2", now)
	none := open(t, t.TempDir())
	old := n2.Client("n1", alpn)
	old.MaxVersion, old.MinVersion = tls.VersionTLS12, tls.VersionTLS12

	tests := map[string]struct {
		server, client *tls.Config
		refusal        string // part of what one of the sides says; empty: it works
	}{
		"members":                      {n1.Server(alpn), n2.Client("n1", alpn), ""},
		"any member":                   {n1.Server(alpn), n2.Client("", alpn), ""},
		"clocks four minutes apart":    {n1.Server(alpn), skewed.Client("n1", alpn), ""},
		"another node answers":         {n1.Server(alpn), n2.Client("n3", alpn), `node "n3" was called, "n1" answers`},
		"expired client":               {n1.Server(alpn), expired.Client("n1", alpn), "expired on"},
		"expired server":               {expired.Server(alpn), n1.Client("n2", alpn), "expired on"},
		"not valid yet":                {n1.Server(alpn), future.Client("n1", alpn), "is valid from"},
		"forged client":                {n1.Server(alpn), forged.Client("", alpn), "not signed by this cluster's CA"},
		"forged server":                {forged.Server(alpn), n1.Client("n2", alpn), "not signed by this cluster's CA"},
		"another cluster's client":     {n1.Server(alpn), foreign.Client("", alpn), "not signed by this cluster's CA"},
		"another cluster's server":     {foreign.Server(alpn), n1.Client("n2", alpn), "not signed by this cluster's CA"},
		"no certificate":               {n1.Server(alpn), keeper.Pinned(authority.Digest(), nil, alpn), "didn't provide a certificate"},
		"client without an identity":   {n1.Server(alpn), none.Client("n1", alpn), "this node has no certificate yet"},
		"server without an identity":   {none.Server(alpn), n2.Client("n1", alpn), "this node has no certificate yet"},
		"another protocol":             {n1.Server(alpn), n2.Client("n1", "instar-raft/1"), "no application protocol"},
		"TLS 1.2":                      {n1.Server(alpn), old, "protocol version"},
		"joining":                      {n1.Joining(alpn), keeper.Pinned(authority.Digest(), nil, alpn), ""},
		"joining another cluster":      {n1.Joining(alpn), keeper.Pinned(sameID.Digest(), nil, alpn), "of another cluster"},
		"joining at an expired member": {expired.Joining(alpn), keeper.Pinned(authority.Digest(), nil, alpn), "expired on"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			serverErr, clientErr := shake(t, tt.server, tt.client)
			if err := errors.Join(serverErr, clientErr); tt.refusal == "" {
				if err != nil {
					t.Error(err)
				}
			} else if err == nil || !strings.Contains(err.Error(), tt.refusal) {
				t.Errorf("refused with %v, want %q", err, tt.refusal)
			}
		})
	}
}

// A server that holds the CA's certificate (everybody can) without a certificate of its own under it.
func TestPinnedCAIsNotEnough(t *testing.T) {
	authority := newCA(t, cluster)
	forged := member(t, newCA(t, cluster), "n1", time.Now())
	config := forged.Joining(alpn)
	get := config.GetCertificate
	config.GetCertificate = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		cert, err := get(hello)
		if err != nil {
			return nil, err
		}
		with := *cert
		with.Certificate = append(with.Certificate, parse(t, authority.PEM()).Raw)
		return &with, nil
	}
	_, err := shake(t, config, keeper.Pinned(authority.Digest(), nil, alpn))
	if core.CodeOf(err) != core.CodeDenied {
		t.Errorf("accepted: %v", err)
	}
}

func TestPinnedLearnsTheCA(t *testing.T) {
	authority := newCA(t, cluster)
	n1 := member(t, authority, "n1", time.Now())
	got := ""
	if _, err := shake(t, n1.Joining(alpn), keeper.Pinned(authority.Digest(), func(pem string) { got = pem }, alpn)); err != nil {
		t.Fatal(err)
	}
	if got != authority.PEM() {
		t.Errorf("learned %q", got)
	}
}

func TestRevokedPeerIsRefused(t *testing.T) {
	authority := newCA(t, cluster)
	n1, n2 := member(t, authority, "n1", time.Now()), member(t, authority, "n2", time.Now())
	revoked := serial(t, n2)
	check := func(p identity.Peer) error {
		if p.Serial == revoked {
			return core.Errorf(core.CodeDenied, "certificate %s of node %q is revoked", p.Serial, p.Node)
		}
		return nil
	}
	server, client := n1.Server(alpn), n1.Client("n2", alpn) // made before the check is known
	n1.SetCheck(check)
	if err, _ := shake(t, server, n2.Client("n1", alpn)); core.CodeOf(err) != core.CodeDenied {
		t.Errorf("a revoked client: %v", err)
	}
	if _, err := shake(t, n2.Server(alpn), client); core.CodeOf(err) != core.CodeDenied {
		t.Errorf("a revoked server: %v", err)
	}
	install(t, n2, authority, "n2", time.Now())
	if err := errors.Join(shake(t, server, n2.Client("n1", alpn))); err != nil {
		t.Errorf("with its next certificate: %v", err)
	}
}

// A rotation of the CA: everybody learns the new one, then all get certificates of it, then the old one
// goes. Configurations made at the beginning hold all the time.
func TestRotationWithoutARestart(t *testing.T) {
	old, fresh := newCA(t, cluster), newCA(t, cluster)
	n1, n2 := member(t, old, "n1", time.Now()), member(t, old, "n2", time.Now())
	server, client := n1.Server(alpn), n2.Client("n1", alpn)
	works := func(step string) {
		t.Helper()
		if err := errors.Join(shake(t, server, client)); err != nil {
			t.Fatalf("%s: %v", step, err)
		}
	}
	works("before")
	both := []string{fresh.PEM(), old.PEM()}
	for _, k := range []*keeper.Keeper{n1, n2} {
		if err := k.SetBundle(both); err != nil {
			t.Fatal(err)
		}
		works("bundles")
	}
	for node, k := range map[string]*keeper.Keeper{"n1": n1, "n2": n2} {
		if err := k.Install(sign(t, k, fresh, node, time.Now()), both); err != nil {
			t.Fatal(err)
		}
		works("certificates")
	}
	for _, k := range []*keeper.Keeper{n1, n2} {
		if err := k.SetBundle([]string{fresh.PEM()}); err != nil {
			t.Fatal(err)
		}
		works("the old one goes")
	}
	if _, err := shake(t, server, member(t, old, "n2", time.Now()).Client("n1", alpn)); err == nil {
		t.Error("a certificate of the old CA is still taken")
	}
}
