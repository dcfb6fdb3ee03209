package proxy_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/instarhq/instar/plugins/traffic/proxy"
	"github.com/instarhq/instar/sdk"
)

// upgrade starts a successor, which takes over, and returns the driver before it and a channel that is closed
// when that one would have ended its process.
func (r *rig) upgrade() (before *proxy.Driver, exited <-chan struct{}) {
	r.t.Helper()
	before, exited = r.driver, r.exited
	r.exited = make(chan struct{})
	mine := r.exited
	d := proxy.New(proxy.WithExit(func() { close(mine) }), proxy.WithLogger(hclog.NewNullLogger()))
	if err := d.Configure(context.Background(), configure(r.dir)); err != nil {
		r.t.Fatalf("Configure of the successor: %v", err)
	}
	r.driver = d
	r.t.Cleanup(func() { shut(r.t, d) })
	return before, exited
}

// Twenty upgrades under load lose nothing: neither connections nor requests nor WebSockets; switches go on
// meanwhile, and every process obeys them.
func TestUpgradesUnderLoad(t *testing.T) {
	r := newRig(t)
	r.upgrade() // so that each has its channel
	r.apply(pool(1, revision(t, 1)))
	l := startLoad(t, r)
	l.sockets(r, 2)
	for n := 2; n <= 21; n++ {
		before, _ := r.upgrade()
		wantCode(t, before.Apply(t.Context(), r.route), sdk.CodeUnavailable, "Apply to the process that was relieved")
		next := revision(t, n)
		l.coming.Store(int64(n))
		r.apply(pool(n, next))
		l.active.Store(int64(n))
		if n%4 == 0 {
			if err := r.driver.Hold(t.Context(), "web", limits); err != nil {
				t.Fatal(err)
			}
			<-time.After(5 * time.Millisecond)
			r.upgrade() // a hold goes on through an upgrade
			if err := r.driver.Release(t.Context(), "web"); err != nil {
				t.Fatal(err)
			}
		}
		if n%5 == 0 {
			l.sockets(r, 1)
		}
		l.more(30)
	}
	o := r.observe()
	inFlight := 0
	for _, e := range o.Draining {
		inFlight += e.InFlight
	}
	if inFlight < 5 {
		t.Errorf("WebSockets of all processes are observed; %d are, of 6: %+v", inFlight, o.Draining)
	}
	l.end()
}

func TestPredecessorEndsWhenDrained(t *testing.T) {
	r := newRig(t)
	r.upgrade()
	blue := echoSocket(t, "blue")
	r.apply(pool(1, blue))
	ws := r.socket()
	say(t, ws, "blue", "before")
	c := client(t)
	for range 5 {
		resp, err := c.Get(r.url("/"))
		_ = text(t, resp, err)
	}
	_, exited := r.upgrade()
	say(t, ws, "blue", "after")
	e := r.endpoint()
	if e.InFlight != 1 || e.Requests != 5 {
		t.Errorf("with both processes: %+v", e)
	}
	// The kept-alive connection is told to close with its next answer.
	resp, err := c.Get(r.url("/"))
	if _ = text(t, resp, err); !resp.Close {
		t.Error("the old process keeps the connection")
	}
	select {
	case <-exited:
		t.Fatal("the old process ended while a WebSocket was open")
	case <-time.After(50 * time.Millisecond):
	}
	_ = ws.CloseNow()
	select {
	case <-exited:
	case <-time.After(patience):
		t.Fatal("the old process does not end")
	}
	eventually(t, "counters outlive the process", func() bool {
		e := r.endpoint()
		return e.InFlight == 0 && e.Requests == 7
	})
	r.upgrade()
	if e := r.endpoint(); e.Requests != 7 {
		t.Errorf("counters after the next upgrade: %+v", e)
	}
}

func TestPredecessorEndsAtItsDeadline(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.upgrade()
	r.route.Drain = 300 * time.Millisecond
	r.apply(pool(1, echoSocket(t, "blue")))
	ws := r.socket()
	_, exited := r.upgrade()
	select {
	case <-exited:
	case <-time.After(patience):
		t.Fatal("the old process does not end")
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, _, err := ws.Read(ctx); err == nil || ctx.Err() != nil {
		t.Errorf("the WebSocket reads %v", err)
	}
}

// A process whose successor was killed does not go on with what it knew.
func TestPredecessorAloneServesNothingNew(t *testing.T) {
	r := newRig(t)
	r.upgrade()
	slow := make(chan struct{})
	arrived := make(chan struct{}, 1)
	r.serve(func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Path == "/slow" {
			arrived <- struct{}{}
			<-slow
		}
		_, _ = fmt.Fprint(w, "done")
	})
	answer := make(chan string, 1)
	c := h2client(t)
	resp, err := c.Get(r.url("/")) // the connection is the old process's
	_ = text(t, resp, err)
	go func() {
		resp, err := c.Get(r.url("/slow"))
		answer <- text(t, resp, err)
	}()
	<-arrived
	before, exited := r.upgrade()
	shut(t, r.driver) // its link to the old process breaks, as if it were killed
	eventually(t, "the old process notices", func() bool {
		o, err := before.Observe(t.Context(), "web")
		return err == nil && len(o.Pools) == 0 && len(o.Draining) == 1
	})
	resp, err = c.Get(r.url("/"))
	if _ = text(t, resp, err); resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("the old process still answers %s", resp.Status)
	}
	close(slow)
	if got := <-answer; got != "done" {
		t.Errorf("the request in flight got %q", got)
	}
	c.CloseIdleConnections()
	select {
	case <-exited:
	case <-time.After(patience):
		t.Fatal("the old process does not end")
	}
}

// A successor that never says that it serves changes nothing.
func TestHalfAHandOverIsTakenBack(t *testing.T) {
	r := newRig(t)
	r.apply(pool(1, backend(t, ok)))
	for _, send := range []string{"", "\x00\x00\x00\x0c{\"format\":1}", "\x00\x00\x00\x0c{\"format\":9}", "\xff\xff\xff\xff", "rubbish"} {
		knock(t, r.dir, send)
		resp, err := client(t).Get(r.url("/"))
		if got := text(t, resp, err); got != "ok" {
			t.Errorf("after %q: %q", send, got)
		}
		r.apply(pool(1, backend(t, ok)))
	}
	before, _ := r.upgrade()
	if o, err := before.Observe(t.Context(), "web"); err != nil || o.Listening {
		t.Errorf("after a whole one the old process has %+v, %v", o, err)
	}
}

func TestCloseDrains(t *testing.T) {
	r := newRig(t)
	var served atomic.Int64
	arrived := make(chan struct{}, 1)
	slow := make(chan struct{})
	r.serve(func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Path == "/slow" {
			arrived <- struct{}{}
			<-slow
		}
		served.Add(1)
		_, _ = fmt.Fprint(w, "done")
	})
	idle := client(t)
	resp, err := idle.Get(r.url("/"))
	_ = text(t, resp, err)
	answer := make(chan string, 1)
	go func() {
		resp, err := client(t).Get(r.url("/slow"))
		answer <- text(t, resp, err)
	}()
	<-arrived
	closed := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		closed <- r.driver.Close(ctx)
	}()
	eventually(t, "nobody listens", func() bool {
		_, err := client(t).Get(r.url("/"))
		return err != nil && strings.Contains(err.Error(), "refused")
	})
	select {
	case err := <-closed:
		t.Fatalf("closed with a request in flight: %v", err)
	default:
	}
	close(slow)
	if got := <-answer; got != "done" {
		t.Errorf("the request in flight got %q", got)
	}
	if err := <-closed; err != nil || served.Load() != 2 {
		t.Errorf("Close: %v; %d were served", err, served.Load())
	}
	wantCode(t, r.driver.Apply(t.Context(), r.route), sdk.CodeUnavailable, "Apply after Close")
}

func TestLongStateDirectory(t *testing.T) {
	dir := t.TempDir() + "/" + strings.Repeat("long/", 30)
	if err := mkdir(dir); err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, dir: dir, driver: newDriver(t, dir), route: sdk.Route{
		ID: "web", Listen: freeAddress(t), Protocol: sdk.ProtocolHTTP,
	}}
	r.apply(pool(1, backend(t, ok)))
	r.upgrade()
	resp, err := client(t).Get(r.url("/"))
	if got := text(t, resp, err); got != "ok" {
		t.Errorf("%q", got)
	}
}
