package proxy_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/instarhq/instar/sdk"
)

// patient puts a patience in force, for connections that come from now on.
func (r *rig) patient(d time.Duration) {
	r.t.Helper()
	req := configure(r.dir)
	req.Config = []byte(`{"connect_patience":"` + d.String() + `"}`)
	if err := r.driver.Configure(context.Background(), req); err != nil {
		r.t.Fatal(err)
	}
}

// listenLater serves h at an address, after a while.
func listenLater(t *testing.T, address string, after time.Duration, h http.HandlerFunc) {
	server := &http.Server{Handler: h, ReadHeaderTimeout: patience}
	opened := make(chan struct{})
	time.AfterFunc(after, func() {
		defer close(opened)
		ln, err := net.Listen("tcp", address)
		if err != nil {
			t.Error(err)
			return
		}
		go func() { _ = server.Serve(ln) }()
	})
	t.Cleanup(func() {
		<-opened
		_ = server.Close()
	})
}

// customers send n requests at once, with and without a body, some of which cannot be repeated, and return how many
// were answered with each status.
func (r *rig) customers(c *http.Client, n int) map[int]int {
	var mu sync.Mutex
	statuses := make(map[int]int)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			method, body := http.MethodPost, io.Reader(nil)
			switch i % 3 {
			case 0:
				method = http.MethodGet
			case 1:
				body = strings.NewReader("sized")
			case 2:
				body = io.MultiReader(strings.NewReader("chunked"))
			}
			req, _ := http.NewRequest(method, r.url("/"), body)
			resp, err := c.Do(req)
			status := 0
			if err == nil {
				status = resp.StatusCode
				_, err = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
			}
			if err != nil {
				r.t.Error(err)
			}
			mu.Lock()
			statuses[status]++
			mu.Unlock()
		})
	}
	wg.Wait()
	return statuses
}

func TestAGapFailsNobody(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, r *rig, c *http.Client) {
		r.patient(patience) // the bound is not what this test is about
		first, second := freeAddress(t), freeAddress(t)
		r.apply(pool(1, first, second))
		var received atomic.Int64
		listenLater(t, first, 300*time.Millisecond, func(_ http.ResponseWriter, req *http.Request) {
			received.Add(1)
			if data, err := io.ReadAll(req.Body); err != nil || req.Method == http.MethodPost && req.ContentLength < 0 && string(data) != "chunked" {
				t.Errorf("received %q, %v", data, err)
			}
		})
		began := time.Now()
		if got := r.customers(c, 60); got[http.StatusOK] != 60 || received.Load() != 60 {
			t.Errorf("answers by status: %v; %d received", got, received.Load())
		}
		if took := time.Since(began); took < 250*time.Millisecond {
			t.Errorf("answered after %s, before the endpoint was there", took)
		}
	})
}

func TestPatienceEnds(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, r *rig, c *http.Client) {
		r.patient(300 * time.Millisecond)
		r.apply(pool(1, freeAddress(t), freeAddress(t)))
		began := time.Now()
		if got := r.customers(c, 30); got[http.StatusServiceUnavailable] != 30 {
			t.Errorf("answers by status: %v", got)
		}
		if took := time.Since(began); took < 300*time.Millisecond {
			t.Errorf("gave up after %s", took)
		}
		// Not one dial for each that waited and each trial: a request dials both once, and then one of them tries.
		for _, e := range r.observe().Pools[0].Endpoints {
			if e.Errors > 50 || e.State != sdk.EndpointDown || e.InFlight != 0 {
				t.Errorf("observed %+v", e)
			}
		}
	})
}

func TestNoPatience(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, r *rig, c *http.Client) {
		r.patient(0)
		address := freeAddress(t)
		r.apply(pool(1, address))
		if got := r.customers(c, 3); got[http.StatusServiceUnavailable] != 3 {
			t.Errorf("answers by status: %v", got)
		}
		if e := r.endpoint(); e.Errors != 3 {
			t.Errorf("three requests were tried %d times", e.Errors)
		}
		// And nobody waits for a pool in which there is nothing.
		r.patient(time.Minute)
		r.apply(pool(1))
		if got := r.customers(c, 3); got[http.StatusServiceUnavailable] != 3 {
			t.Errorf("without endpoints: %v", got)
		}
	})
}

// Those who wait follow a switch: they are in flight nowhere, so nothing is drained for them.
func TestPatienceFollowsASwitch(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, r *rig, c *http.Client) {
		r.patient(time.Minute)
		r.apply(pool(1, freeAddress(t)))
		answers := make(chan map[int]int, 1)
		go func() { answers <- r.customers(c, 9) }()
		eventually(t, "all have tried", func() bool { return r.endpoint().Errors >= 9 })
		// Ten times a second one of them is, for as long as its dial takes.
		eventually(t, "none is in flight", func() bool { return r.endpoint().InFlight == 0 })
		r.apply(pool(2, backend(t, ok)))
		if got := <-answers; got[http.StatusOK] != 9 {
			t.Errorf("answers by status: %v", got)
		}
	})
}

func TestClientsThatDoNotWait(t *testing.T) {
	both(t, func(t *testing.T, r *rig, c *http.Client) {
		r.patient(time.Minute)
		r.apply(pool(1))
		r.customers(c, 1) // starts what lives as long as the listener
		c.CloseIdleConnections()
		before := runtime.NumGoroutine()
		r.apply(pool(1, freeAddress(t)))
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				req, _ := http.NewRequestWithContext(ctx, http.MethodGet, r.url("/"), nil)
				resp, err := c.Do(req)
				if err == nil {
					_ = resp.Body.Close()
					t.Errorf("answered %s", resp.Status)
				}
			})
		}
		eventually(t, "all wait", func() bool { return r.endpoint().Errors >= 50 })
		cancel()
		wg.Wait()
		eventually(t, "no goroutine is left", func() bool {
			c.CloseIdleConnections()
			return runtime.NumGoroutine() <= before
		})
	})
}

func TestPatienceOfTCP(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.patient(patience)
	r.route.Protocol = sdk.ProtocolTCP
	address := freeAddress(t)
	r.apply(pool(1, address))
	listenLater(t, address, 300*time.Millisecond, ok)
	if got := r.raw("GET / HTTP/1.0\r\n\r\n"); !strings.HasSuffix(got, "ok") {
		t.Errorf("answered %q", got)
	}
}
