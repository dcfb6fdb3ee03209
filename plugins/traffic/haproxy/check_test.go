package haproxy_test

import (
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/instarhq/instar/plugins/traffic/haproxy/socket"
	"github.com/instarhq/instar/sdk"
)

// serveAll answers every request, of any path, with a status and a text.
func (b *balancer) serveAll(status int, text string) (address string) {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatalf("%v", err)
	}
	server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = w.Write([]byte(text))
	})}
	go func() { _ = server.Serve(l) }() // ends with Close
	b.Cleanup(func() { _ = server.Close() })
	return l.Addr().String()
}

// TestCheckPath: with a path to check, an instance gets requests after HAProxy has found its answer well (L7OK), and one
// that takes connections and answers badly gets none.
func TestCheckPath(t *testing.T) {
	t.Parallel()
	b := startBalancer(t)
	blue, _ := b.serveText("blue")
	d := b.driver()
	r := b.route("web", blue)
	r.Config = []byte(`{"check_path":"/healthz"}`)
	apply(t, d, r)
	b.await("HAProxy's check has gone well", func() bool { return b.checks("instar-web-p1")["s1"] == "L7OK" })
	bad := b.serveAll(http.StatusInternalServerError, "bad")
	wantCode(t, d.Apply(t.Context(), next(r, pool(2, 1, bad))), sdk.CodeConflict, "revision 2", "L7STS")
	wantText(t, r, "blue")
}

// TestCheckPathOfTheNextRevision: a revision that brings a path of its own is checked by that, and the one before it goes
// on being checked by its own: it need not know the new one.
func TestCheckPathOfTheNextRevision(t *testing.T) {
	t.Parallel()
	b := startBalancer(t)
	blue, _ := b.serveText("blue") // it answers /fail with 500
	d := b.driver()
	r := b.route("web", blue)
	apply(t, d, r)
	green := b.serveAll(http.StatusOK, "green")
	r = next(r, pool(1, 1, blue), pool(2, 0, green))
	apply(t, d, r) // as instar does before its checks of the revision, with the route as it was
	bad := r
	bad.Config = []byte(`{"check_path":"/fail"}`)
	wantCode(t, d.Apply(t.Context(), next(bad, pool(1, 0, blue), pool(3, 1, blue))), sdk.CodeConflict, "revision 3", "L7STS")
	wantText(t, r, "blue")
	url, stop, failed := "http://"+r.Listen+"/", make(chan struct{}), make(chan int)
	go func() {
		n := 0
		for {
			select {
			case <-stop:
				failed <- n
				return
			default:
			}
			if status, _ := get(t, url); status != http.StatusOK {
				n++
			}
		}
	}()
	r.Generation++
	r.Config = bad.Config
	r = next(r, pool(1, 0, blue), pool(2, 1, green))
	apply(t, d, r)
	wantText(t, r, "green")
	if check := b.checks("instar-web-p2")["s1"]; check != "L7OK" {
		t.Errorf("green is ready after the check %s, want L7OK", check)
	}
	r.Generation++
	r.Config = nil
	r = next(r, pool(1, 1, blue), pool(2, 0, green)) // and back
	apply(t, d, r)
	wantText(t, r, "blue")
	close(stop)
	if n := <-failed; n > 0 {
		t.Errorf("%d requests failed", n)
	}
}

// checks are the results of HAProxy's last checks of a backend's servers.
func (b *balancer) checks(backend string) map[string]string {
	b.Helper()
	master := socket.Master{Path: b.Socket()}
	procs, err := master.Processes(b.Context())
	if err != nil {
		b.Fatalf("%v", err)
	}
	w, _ := procs.Current()
	answers, err := master.Ask(b.Context(), w.PID, "show stat "+backend+" 4 -1")
	if err != nil {
		b.Fatalf("%v", err)
	}
	rows, err := socket.Servers(answers[0])
	if err != nil {
		b.Fatalf("%v", err)
	}
	found := map[string]string{}
	for _, row := range rows {
		found[row.Name] = row.Check
	}
	return found
}
