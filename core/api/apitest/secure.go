package apitest

import (
	"context"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/api"
	"github.com/instarhq/instar/core/identity/ca"
	"github.com/instarhq/instar/core/identity/keeper"
	"github.com/instarhq/instar/core/state"
)

// Secured is the fixture's API over TLS, where callers show tokens or certificates.
type Secured struct {
	URL    string
	Digest core.Digest // of the CA
}

// Secure serves the fixture's state as a member of a cluster does.
func (f *Fixture) Secure(t testing.TB) Secured {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	authority, err := ca.New("test", "0000000000000000", time.Now())
	must(err)
	k, err := keeper.Open(t.TempDir())
	must(err)
	csr, err := k.Request("n1", nil)
	must(err)
	issued, err := authority.SignNode(csr, "n1", time.Now())
	must(err)
	must(k.Install(issued.PEM, []string{authority.PEM()}))
	f.Put(t, func(tx *state.Tx) {
		state.Clusters.Put(tx, core.ClusterObject, core.Cluster{Format: 1, CA: []string{authority.PEM()}})
	})
	handler := api.New(api.Config{
		State: f.State, Store: f.Store, Operations: f.Ops, Logs: logSource{}, Leader: func() string { return "n1" },
		Node: "n1", Version: Version, Origin: "test/0000000000000000/1", VerifyClient: k.VerifyClient,
		SignClient: func(_ context.Context, csr []byte, token string, lifetime time.Duration) (string, time.Time, error) {
			issued, err := authority.SignClient(csr, token, time.Now(), lifetime)
			return issued.PEM, issued.NotAfter, err
		},
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	server := &http.Server{Handler: handler, TLSConfig: k.API("h2", "http/1.1"), ReadHeaderTimeout: time.Minute}
	go func() { _ = server.ServeTLS(l, "", "") }()
	t.Cleanup(func() { _ = server.Close() })
	return Secured{URL: "https://" + l.Addr().String(), Digest: authority.Digest()}
}
