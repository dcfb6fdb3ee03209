package identity_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/user"
	"path/filepath"
	"testing"

	"github.com/instarhq/instar/core/identity"
)

// ask serves one request over a listener and returns the principal that the handler saw.
func ask(t *testing.T, network, address string) string {
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{
		ConnContext: identity.ConnContext,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = fmt.Fprint(w, identity.Principal(r.Context()))
		}),
	}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { _ = server.Close() })
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, l.Addr().String())
	}}}
	t.Cleanup(client.CloseIdleConnections)
	resp, err := client.Get("http://instard/")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func TestPrincipalOfAUnixSocketIsItsUser(t *testing.T) {
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	if got, want := ask(t, "unix", filepath.Join(t.TempDir(), "s")), "local:"+me.Username; got != want {
		t.Errorf("principal %q, want %q", got, want)
	}
}

func TestTCPIsAnonymous(t *testing.T) {
	if got := ask(t, "tcp", "127.0.0.1:0"); got != identity.Anonymous {
		t.Errorf("principal %q, want %q", got, identity.Anonymous)
	}
}
