package haproxy_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/instarhq/instar/plugins/traffic/haproxy"
	"github.com/instarhq/instar/plugins/traffic/haproxy/socket"
	"github.com/instarhq/instar/sdk"
)

// serveText answers every request with a text, until the test ends or stop is called.
func (b *balancer) serveText(text string) (address string, stop func()) {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatalf("%v", err)
	}
	server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/slow":
			select {
			case <-time.After(time.Minute):
			case <-r.Context().Done():
			}
		case "/fail":
			w.WriteHeader(http.StatusInternalServerError)
		}
		fmt.Fprint(w, text)
	})}
	go func() { _ = server.Serve(l) }() // ends with Close
	stop = func() { _ = server.Close() }
	b.Cleanup(stop)
	return l.Addr().String(), stop
}

// get asks with a connection of its own.
func get(t *testing.T, url string, header ...string) (status int, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Close = true
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
		if header[i] == "Host" {
			req.Host = header[i+1]
		}
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer func() { _ = res.Body.Close() }()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		return res.StatusCode, err.Error()
	}
	return res.StatusCode, strings.TrimSpace(string(data))
}

func wantText(t *testing.T, r sdk.Route, text string, header ...string) {
	t.Helper()
	if status, body := get(t, "http://"+r.Listen+"/", header...); status != http.StatusOK || body != text {
		t.Errorf("GET %s: %d %q, want 200 %q", r.Listen, status, body, text)
	}
}

func observe(t *testing.T, d sdk.Traffic, id string) sdk.Observation {
	t.Helper()
	o, err := d.Observe(t.Context(), id)
	if err != nil {
		t.Fatalf("Observe %s: %v", id, err)
	}
	return o
}

// TestRestarts: whoever ends HAProxy and however, and also while the driver is away, it comes back with the
// present state.
func TestRestarts(t *testing.T) {
	t.Parallel()
	b := startBalancer(t)
	blue, _ := b.serveText("blue")
	green, _ := b.serveText("green")
	d := b.driver()
	r := b.route("web", blue)
	apply(t, d, r)
	r = next(r, pool(1, 0, blue), pool(2, 1, green))
	apply(t, d, r)
	b.Kill()
	if _, err := d.Observe(t.Context(), "web"); sdk.CodeOf(err) != sdk.CodeUnavailable {
		t.Errorf("Observe without HAProxy: %v, want unavailable", err)
	}
	b.start()
	wantText(t, r, "green") // at once, by nothing but the files
	b.await("the driver sees it", func() bool {
		o, err := d.Observe(t.Context(), "web")
		return err == nil && o.Generation == r.Generation && o.Listening && o.Pools[1].Endpoints[0].State == sdk.EndpointUp
	})
	b.shut(d)
	b.Kill()
	b.start()
	wantText(t, r, "green")
	d = b.driver()
	r = next(r, pool(1, 1, blue))
	apply(t, d, r)
	wantText(t, r, "blue")
}

// TestHang: a stopped HAProxy makes calls fail in time, and the target unhealthy; afterwards all goes on.
func TestHang(t *testing.T) {
	t.Parallel()
	b := startBalancer(t)
	blue, _ := b.serveText("blue")
	d := b.driver()
	r := b.route("web", blue)
	apply(t, d, r)
	if err := b.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	health := make(chan sdk.Health, 100)
	go func() {
		_ = d.Probe(t.Context(), func(h sdk.Health) error { health <- h; return nil }) // ends with the test
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	_, err := d.Observe(ctx, "web")
	wantCode(t, err, sdk.CodeUnavailable, "does not answer")
	changed := next(r, pool(2, 1, blue))
	wantCode(t, d.Apply(ctx, changed), sdk.CodeUnavailable, "does not answer")
	b.await("the target is unhealthy", func() bool {
		h := <-health
		return !h.Healthy && strings.Contains(h.Reason, "does not answer")
	})
	if err := b.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	b.await("the target is healthy", func() bool { return (<-health).Healthy })
	if o := observe(t, d, "web"); o.Generation != r.Generation || o.Pools[0].Revision != 1 {
		t.Errorf("after a failed Apply the route is %+v, want generation %d as before", o, r.Generation)
	}
	apply(t, d, changed)
	wantText(t, r, "blue")
}

// TestReadThroughReloads: while the admin reloads HAProxy, again and again, its master is without a socket for a moment
// and cuts answers off. Who reads does not notice, and the target stays healthy.
func TestReadThroughReloads(t *testing.T) {
	t.Parallel()
	b := startBalancer(t)
	blue, _ := b.serveText("blue")
	d := b.driver()
	r := b.route("web", blue)
	apply(t, d, r)
	ctx, stop := context.WithCancel(t.Context())
	var readers sync.WaitGroup
	var read atomic.Int64
	for range 2 {
		readers.Go(func() {
			for ; ctx.Err() == nil; read.Add(1) {
				if o, err := d.Observe(t.Context(), "web"); err != nil || o.Generation != r.Generation {
					t.Errorf("Observe while HAProxy reloads: %+v, %v", o, err)
					return
				}
				<-time.After(time.Millisecond)
			}
		})
	}
	readers.Go(func() {
		_ = d.Probe(ctx, func(h sdk.Health) error { // ends with the context
			if !h.Healthy {
				t.Errorf("the target is unhealthy while HAProxy reloads: %s", h.Reason)
			}
			return nil
		})
	})
	for range 10 {
		if err := b.Reload(t.Context()); err != nil {
			t.Error(err)
		}
		before := read.Load()
		b.await("HAProxy is read", func() bool { return read.Load() > before+4 || t.Failed() })
	}
	stop()
	readers.Wait()
}

// TestEditedByHand: what somebody changes at HAProxy's socket is seen by Observe and put right.
func TestEditedByHand(t *testing.T) {
	t.Parallel()
	b := startBalancer(t)
	blue, _ := b.serveText("blue")
	green, _ := b.serveText("green")
	d := b.driver()
	r := next(b.route("web"), pool(1, 100, blue), pool(2, 0, green))
	apply(t, d, r)
	master := socket.Master{Path: b.Socket()}
	file := filepath.Join(b.Directory(), "instar.map")
	for what, commands := range map[string][]string{
		"the map":                {"set map " + file + " web/1 instar-web-p2"},
		"the generation":         {"set map " + file + " web/generation 1"},
		"an emptied map":         {"clear map " + file},
		"a server switched off":  {"set server instar-web-p1/s1 state maint"},
		"a server drained":       {"set server instar-web-p1/s1 state drain"},
		"another address":        {"set server instar-web-p1/s1 addr 127.0.0.1 port 1"},
		"an empty slot in force": {"set server instar-web-p1/s2 state ready"},
	} {
		procs, err := master.Processes(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		w, _ := procs.Current()
		if _, err := master.Ask(t.Context(), w.PID, commands...); err != nil {
			t.Fatal(err)
		}
		b.await(what+" is put right", func() bool {
			o := observe(t, d, "web")
			status, body := get(t, "http://"+r.Listen+"/")
			return o.Generation == r.Generation && o.Pools[0].Weight == 100 && o.Pools[1].Weight == 0 &&
				o.Pools[0].Endpoints[0].State == sdk.EndpointUp && o.Pools[0].Endpoints[0].Address == blue && status == 200 && body == "blue"
		})
	}
}

// TestEditsAreSeen: before they are put right, because the driver is not there to do it.
func TestEditsAreSeen(t *testing.T) {
	t.Parallel()
	b := startBalancer(t)
	blue, _ := b.serveText("blue")
	d := b.driver()
	r := next(b.route("web"), pool(1, 100, blue), pool(2, 0, blue))
	apply(t, d, r)
	release := b.busy() // as a driver that is just changing something would
	defer release()
	master := socket.Master{Path: b.Socket()}
	procs, err := master.Processes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	w, _ := procs.Current()
	file := filepath.Join(b.Directory(), "instar.map")
	if _, err := master.Ask(t.Context(), w.PID, "set map "+file+" web/1 instar-web-p2", "set map "+file+" web/generation 1"); err != nil {
		t.Fatal(err)
	}
	if o := observe(t, d, "web"); o.Generation != 1 || o.Pools[0].Weight != 0 || o.Pools[1].Weight == 0 {
		t.Errorf("Observe gives %+v, want what somebody made of it", o)
	}
}

// busy holds the lock of the state directory as another process would.
func (b *balancer) busy() (release func()) {
	b.Helper()
	file, err := os.OpenFile(filepath.Join(b.state, "lock"), os.O_RDWR, 0)
	if err != nil {
		b.Fatalf("%v", err)
	}
	b.await("the lock is free", func() bool { return syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil })
	return func() { _ = file.Close() }
}

// TestDeadGreen: a revision that died between its verification and the switch fails the switch and nobody's
// request.
func TestDeadGreen(t *testing.T) {
	t.Parallel()
	b := startBalancer(t)
	blue, _ := b.serveText("blue")
	green, kill := b.serveText("green")
	d := b.driver()
	r := b.route("web", blue)
	apply(t, d, r)
	r = next(r, pool(1, 1, blue), sdk.Pool{Revision: 2, Preview: true, Endpoints: pool(2, 0, green).Endpoints})
	apply(t, d, r)
	wantText(t, r, "green", sdk.PreviewHeader, "2")
	kill()
	b.await("HAProxy has noticed", func() bool { return observe(t, d, "web").Pools[1].Endpoints[0].State == sdk.EndpointDown })
	wantCode(t, d.Apply(t.Context(), next(r, pool(1, 0, blue), pool(2, 1, green))), sdk.CodeConflict, "revision 2", green)
	// One that was never there before, too.
	wantCode(t, d.Apply(t.Context(), next(r, pool(3, 1, b.free()))), sdk.CodeConflict, "revision 3")
	if o := observe(t, d, "web"); o.Generation != r.Generation || o.Pools[0].Weight != 1 {
		t.Errorf("after the refusals the route is %+v", o)
	}
	for range 20 {
		wantText(t, r, "blue")
	}
	r.Generation++ // and not the end: the way back is open
	apply(t, d, next(r, pool(1, 1, blue)))
	wantText(t, r, "blue")
}

// TestJustDeadGreen: HAProxy has not even noticed yet that the revision has died.
func TestJustDeadGreen(t *testing.T) {
	t.Parallel()
	b := startBalancer(t)
	blue, _ := b.serveText("blue")
	green, kill := b.serveText("green")
	half, _ := b.serveText("half")
	d := b.driver("check_interval", "3s")
	r := next(b.route("web"), pool(1, 1, blue), pool(2, 0, green), pool(3, 0, green, half))
	apply(t, d, r)
	kill()
	wantCode(t, d.Apply(t.Context(), next(r, pool(1, 0, blue), pool(2, 1, green), r.Pools[2])), sdk.CodeConflict, "revision 2", green)
	for range 20 {
		wantText(t, r, "blue")
	}
	// With one of two instances alive it is switched, and nobody waits for the other one.
	r.Generation++
	r = next(r, pool(3, 1, green, half))
	apply(t, d, r)
	if e := observe(t, d, "web").Pools[0].Endpoints; e[0].State != sdk.EndpointDown || e[1].State != sdk.EndpointUp {
		t.Errorf("HAProxy has the dead instance as %s and the other as %s", e[0].State, e[1].State)
	}
	for range 20 {
		wantText(t, r, "half")
	}
}

// TestFailedReload: a configuration that HAProxy finds sound and cannot start with leaves all as it was.
func TestFailedReload(t *testing.T) {
	t.Parallel()
	b := startBalancer(t)
	blue, _ := b.serveText("blue")
	d := b.driver()
	r := b.route("web", blue)
	apply(t, d, r)
	// The admin's part wants an address that somebody else has: no check of the file can find that.
	admin := filepath.Join(b.Dir(), "haproxy.cfg")
	sound, err := os.ReadFile(admin)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(admin, fmt.Appendf(sound, "frontend taken\n    bind %s\n", blue), 0o644); err != nil {
		t.Fatal(err)
	}
	wantCode(t, d.Apply(t.Context(), b.route("wrong", blue)), sdk.CodeUnavailable, "reload")
	wantText(t, r, "blue")
	if _, err := d.Observe(t.Context(), "wrong"); sdk.CodeOf(err) != sdk.CodeNotFound {
		t.Errorf("Observe of the route that failed: %v, want not found", err)
	}
	if err := os.WriteFile(admin, sound, 0o644); err != nil {
		t.Fatal(err)
	}
	wantText(t, r, "blue")
	apply(t, d, b.route("good", blue))
	apply(t, d, next(r, pool(2, 1, blue)))
	wantText(t, r, "blue")
}

// TestTwoProcesses: of two drivers with one state directory the one that was configured last is in charge,
// until it ends.
func TestTwoProcesses(t *testing.T) {
	t.Parallel()
	b := startBalancer(t)
	blue, _ := b.serveText("blue")
	old := b.driver()
	r := b.route("web", blue)
	apply(t, old, r)
	young := b.driver("slots", 5)
	r = next(r, pool(2, 1, blue))
	apply(t, young, r)
	wantCode(t, old.Apply(t.Context(), next(r, pool(3, 1, blue))), sdk.CodeUnavailable, "taken over")
	b.shut(young)
	wantCode(t, old.Apply(t.Context(), b.withGeneration(r, 1)), sdk.CodeConflict, "older") // it knows what the other one did
	apply(t, old, next(r, pool(3, 1, blue)))
	wantText(t, r, "blue")
}

func (b *balancer) withGeneration(r sdk.Route, generation uint64) sdk.Route {
	r.Generation = generation
	return r
}

// TestFullDisk: if the state or the configuration cannot be written, nothing changes.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	b := startBalancer(t)
	blue, _ := b.serveText("blue")
	d := b.driver()
	r := b.route("web", blue)
	apply(t, d, r)
	for _, dir := range []string{b.Directory(), b.state} {
		// No new file can be made in a directory that has been removed.
		if err := os.Rename(dir, dir+".away"); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(dir, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := d.Apply(t.Context(), next(r, pool(2, 1, blue))); sdk.CodeOf(err) != sdk.CodeUnavailable {
			t.Errorf("Apply with %s gone: %v, want unavailable", dir, err)
		}
		if err := os.Remove(dir); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(dir+".away", dir); err != nil {
			t.Fatal(err)
		}
		wantText(t, r, "blue")
		if o := observe(t, d, "web"); o.Generation != r.Generation {
			t.Errorf("generation is %d after a failed Apply, want %d", o.Generation, r.Generation)
		}
	}
	apply(t, d, next(r, pool(2, 1, blue)))
}

// TestMissing: what the admin's part lacks is said, with what to do.
func TestMissing(t *testing.T) {
	t.Parallel()
	b := startBalancer(t)
	reason := func(more ...any) string {
		d := haproxy.New()
		req := b.configure(more...)
		req.StateDir = t.TempDir()
		if err := d.Configure(t.Context(), req); err != nil {
			t.Fatal(err)
		}
		defer b.shut(d)
		var text string
		enough := fmt.Errorf("enough")
		if err := d.Probe(t.Context(), func(h sdk.Health) error {
			if text = h.Reason; h.Healthy {
				t.Errorf("with %v the target is healthy", more)
			}
			return enough
		}); !errors.Is(err, enough) {
			t.Error(err)
		}
		return text
	}
	stats := filepath.Join(b.Dir(), "stats.sock")
	for words, more := range map[string][]any{
		"runs without -W -S":     {"master_socket", filepath.Join(b.Dir(), "none.sock")},
		"no master socket":       {"master_socket", stats},
		"give it a last -f":      {"directory", filepath.Join(b.Dir(), "elsewhere")},
		"cannot be written":      {"directory", "/dev/null/instar"},
		"reload command \"false": {"reload_command", []string{"false"}, "directory", filepath.Join(b.Dir(), "another")},
	} {
		if words == "no master socket" {
			l, err := net.Listen("unix", stats)
			if err != nil {
				t.Fatal(err)
			}
			go func() {
				conn, err := l.Accept()
				if err == nil {
					_, _ = io.ReadAll(conn)
					_, _ = io.WriteString(conn, "Unknown command\n")
					_ = conn.Close()
				}
				_ = l.Close()
			}()
		}
		if got := reason(more...); !strings.Contains(got, words) {
			t.Errorf("with %v the reason is %q, want it to say %q", more, got, words)
		}
	}
}
