package proxy_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// load is a mixed load on a rig. Backends answer with the revision that they are; an answer must come from a
// revision that was active when the request began, or became active before it ended.
type load struct {
	t       *testing.T
	url     string
	active  atomic.Int64 // what Apply has returned for
	coming  atomic.Int64 // what Apply was called for
	sent    atomic.Int64
	echoes  atomic.Int64
	stop    chan struct{}
	workers sync.WaitGroup
	shot    sync.Once
}

// revision is a backend that answers with its number before the body it was sent, on all protocols.
func revision(t testing.TB, n int) string {
	return backend(t, func(w http.ResponseWriter, req *http.Request) {
		if req.Header.Get("Upgrade") != "" {
			echo(w, req, n)
			return
		}
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return
		}
		_, _ = fmt.Fprintf(w, "%d:%s", n, body)
	})
}

func echo(w http.ResponseWriter, req *http.Request, n int) {
	c, err := websocket.Accept(w, req, nil)
	if err != nil {
		return
	}
	defer func() { _ = c.CloseNow() }()
	for {
		kind, message, err := c.Read(context.Background())
		if err != nil {
			return
		}
		if c.Write(context.Background(), kind, fmt.Appendf(nil, "%d:%s", n, message)) != nil {
			return
		}
	}
}

// startLoad starts clients of every kind. The active revision is 1.
func startLoad(t *testing.T, r *rig) *load {
	l := &load{t: t, url: r.url("/"), stop: make(chan struct{})}
	l.active.Store(1)
	l.coming.Store(1)
	keepalive, h2 := client(t), h2client(t)
	for range 3 {
		l.client(func(n int) (string, error) { // kept alive, with time to think
			l.think(n)
			return l.do(keepalive, http.MethodGet, nil)
		})
		l.client(func(int) (string, error) { // a body that cannot be sent again, of known or unknown length
			body := bytes.Repeat([]byte("b"), rand.IntN(20_000))
			var in io.Reader = struct{ io.Reader }{bytes.NewReader(body)}
			got, err := l.do(keepalive, http.MethodPost, in)
			revision, echoed, _ := strings.Cut(got, ":")
			if err == nil && echoed != string(body) {
				err = fmt.Errorf("a body of %d bytes came back as %d", len(body), len(echoed))
			}
			return revision, err
		})
	}
	l.client(func(int) (string, error) { // a connection for each
		c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
		return l.do(c, http.MethodGet, nil)
	})
	for range 2 {
		l.client(func(n int) (string, error) {
			l.think(n)
			return l.do(h2, http.MethodGet, nil)
		})
	}
	return l
}

func (l *load) think(n int) {
	if n%3 == 0 {
		<-time.After(time.Duration(rand.IntN(8)) * time.Millisecond)
	}
}

// do sends one request and returns the answer's body.
func (l *load) do(c *http.Client, method string, body io.Reader) (string, error) {
	req, err := http.NewRequest(method, l.url, body)
	if err != nil {
		return "", err
	}
	resp, err := c.Do(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	got, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s %.80q", resp.Status, got)
	}
	return string(got), err
}

// client runs one client until the load is stopped, and judges what it gets.
func (l *load) client(request func(n int) (string, error)) {
	l.workers.Go(func() {
		for n := 0; ; n++ {
			select {
			case <-l.stop:
				return
			default:
			}
			from := l.active.Load()
			got, err := request(n)
			to := l.coming.Load()
			l.sent.Add(1)
			number, _, _ := strings.Cut(got, ":")
			if answered, perr := strconv.ParseInt(number, 10, 64); err != nil || perr != nil || answered < from || answered > to {
				l.shot.Do(func() {
					l.t.Errorf("a request begun with revision %d active and ended with %d got %.60q, %v", from, to, got, err)
				})
				return
			}
		}
	})
}

// sockets opens WebSockets that say something all the time, on whatever revision each began with.
func (l *load) sockets(r *rig, n int) {
	for range n {
		c := r.socket()
		l.workers.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			first := ""
			for i := 0; ; i++ {
				select {
				case <-l.stop:
					_ = c.CloseNow()
					return
				case <-time.After(2 * time.Millisecond):
				}
				message := strconv.Itoa(i)
				err := c.Write(ctx, websocket.MessageText, []byte(message))
				var got []byte
				if err == nil {
					_, got, err = c.Read(ctx)
				}
				number, echoed, _ := strings.Cut(string(got), ":")
				if first == "" {
					first = number
				}
				if err != nil || echoed != message || number != first {
					l.shot.Do(func() { l.t.Errorf("echo %d of a WebSocket on revision %s is %q, %v", i, first, got, err) })
					return
				}
				l.echoes.Add(1)
			}
		})
	}
}

// more waits until n more requests were answered, or one has failed.
func (l *load) more(n int64) {
	l.t.Helper()
	target := l.sent.Load() + n
	eventually(l.t, "requests go on", func() bool { return l.sent.Load() >= target || l.t.Failed() })
}

func (l *load) end() {
	close(l.stop)
	l.workers.Wait()
	l.t.Logf("%d requests, %d echoes", l.sent.Load(), l.echoes.Load())
}

// I5, I7, I8 at the driver: 100 switches under mixed load.
func TestSwitchesUnderLoad(t *testing.T) {
	r := newRig(t)
	addresses := []string{revision(t, 1)}
	r.apply(pool(1, addresses[0]))
	l := startLoad(t, r)
	l.sockets(r, 3)
	for n := 2; n <= 101; n++ {
		next := revision(t, n)
		addresses = append(addresses, next)
		l.coming.Store(int64(n))
		before := pool(n-1, addresses[n-2])
		before.Weight = 0
		if n%2 == 0 { // the old one stays warm, or leaves at once
			r.apply(before, pool(n, next))
		} else {
			r.apply(pool(n, next))
		}
		l.active.Store(int64(n))
		old := r.route
		old.Generation--
		if err := r.driver.Apply(t.Context(), old); err == nil {
			t.Error("an older generation was taken")
		}
		l.more(20)
	}
	l.end()
	if o := r.observe(); o.Pools[0].Endpoints[0].Errors != 0 {
		t.Errorf("errors: %+v", o.Pools)
	}
	eventually(t, "nothing drains any more", func() bool { return len(r.observe().Draining) == 0 })
}

// What kamal-proxy loses at pause and resume: here requests that are held lose nothing, over many cycles.
func TestHoldCyclesUnderLoad(t *testing.T) {
	r := newRig(t)
	r.apply(pool(1, revision(t, 1)))
	l := startLoad(t, r)
	for n := 2; n <= 151; n++ {
		if err := r.driver.Hold(t.Context(), "web", limits); err != nil {
			t.Fatal(err)
		}
		next := revision(t, n)
		l.coming.Store(int64(n))
		r.apply(pool(n, next))
		l.active.Store(int64(n))
		if err := r.driver.Release(t.Context(), "web"); err != nil {
			t.Fatal(err)
		}
		l.more(10)
	}
	l.end()
}

// A pool of several instances, of which some come and go while requests run, loses none either.
func TestScalingUnderLoad(t *testing.T) {
	r := newRig(t)
	instances := []string{revision(t, 1), revision(t, 1), revision(t, 1), revision(t, 1)}
	r.apply(pool(1, instances...))
	l := startLoad(t, r)
	for n := range 60 {
		r.apply(pool(1, instances[n%3:n%3+1+n%2]...))
		l.more(10)
	}
	l.end()
}

func TestListenerMoves(t *testing.T) {
	r := newRig(t)
	r.apply(pool(1, revision(t, 1)))
	old := r.route.Listen
	r.route.Listen = freeAddress(t)
	r.apply(pool(1, revision(t, 1)))
	resp, err := client(t).Get(r.url("/"))
	if got := text(t, resp, err); got != "1:" {
		t.Errorf("at the new address: %q", got)
	}
	if c, err := net.DialTimeout("tcp", old, time.Second); err == nil {
		_ = c.Close()
		t.Error("the old address still listens")
	} else if !strings.Contains(err.Error(), "refused") && !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the old address: %v", err)
	}
}
