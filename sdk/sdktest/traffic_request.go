package sdktest

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/instarhq/instar/sdk"
)

var trafficRequests = []trafficCheck{
	{"switch/weights", "requests follow the weights", func(c *trafficRun) {
		one, two, none := startBackend(c, 1), startBackend(c, 2), startBackend(c, 3)
		r := next(c.route(), pool(1, 3, one.address), pool(2, 1, two.address), pool(3, 0, none.address))
		cl := c.client(r)
		c.apply(r)
		for range 400 {
			if status, body, err := cl.get(c.Context(), "/"); err != nil || status != http.StatusOK {
				c.Fatalf("GET: %d %q, %v", status, body, err)
			}
		}
		// 300 and 100 wanted; a driver that draws at random stays within 60 but once in a million runs.
		if n := one.requests.Load(); n < 240 || n > 360 {
			c.Errorf("revision 1 with 3 of 4 parts got %d of 400 requests", n)
		}
		if n := none.requests.Load(); n != 0 {
			c.Errorf("revision 3 with weight 0 got %d requests", n)
		}
	}},
	{"preview/header", "the preview header selects a preview pool, and only that, and is not passed on", func(c *trafficRun) {
		blue, green := startBackend(c, 1), startBackend(c, 2)
		r := next(c.route(), pool(1, 1, blue.address), pool(2, 0, green.address))
		r.Pools[1].Preview = true
		cl := c.client(r)
		c.apply(r)
		cl.want(c, 1)
		cl.want(c, 2, sdk.PreviewHeader, "2")
		for _, revision := range []int{1, 9} { // no preview pool, no pool
			status, body, err := cl.get(c.Context(), "/", sdk.PreviewHeader, strconv.Itoa(revision))
			if err != nil || status != http.StatusNotFound {
				c.Errorf("preview of revision %d: %d %q, %v; want 404", revision, status, body, err)
			}
		}
		if n := green.preview.Load(); n != 0 {
			c.Errorf("the header was passed on %d times", n)
		}
	}},
	{"switch/under-load", "I8: 50 switches under requests fail none and leave none behind", func(c *trafficRun) {
		checkSwitches(c)
	}},
	{"switch/new-requests-follow", "I8: when Apply has returned, every new request follows it, on new and on idle connections", func(c *trafficRun) {
		backends := []*backend{startBackend(c, 1), startBackend(c, 2)}
		r := next(c.route(), pool(1, 1, backends[0].address))
		idle := c.client(r)
		c.apply(r)
		for n := range 12 {
			idle.want(c, n%2+1)
			revision := (n+1)%2 + 1
			r = next(r, pool(revision, 1, backends[revision-1].address))
			c.apply(r)
			idle.want(c, revision)
			c.client(r).want(c, revision)
			if c.Failed() {
				c.Fatalf("(after switch %d)", n+1)
			}
		}
	}},
	{"switch/weight-zero", "I5: requests in flight go on when their pool gets weight 0, and no new ones come", func(c *trafficRun) {
		one, two := startBackend(c, 1), startBackend(c, 2)
		r := next(c.route(), pool(1, 1, one.address))
		cl := c.client(r)
		c.apply(r)
		answers := c.slow(cl, one, 1)
		r = next(r, pool(1, 0, one.address), pool(2, 1, two.address))
		c.apply(r)
		for range 5 {
			cl.want(c, 2)
		}
		if e := c.endpoint(r, 0); e.InFlight != 1 || e.State == sdk.EndpointDraining {
			c.Errorf("an endpoint with weight 0 and a request in flight is %+v, want one in flight and not draining", e)
		}
		close(one.release)
		c.answered(answers)
	}},
	{"switch/in-flight", "I5: requests in flight go on and are reported until they end", func(c *trafficRun) {
		checkInFlight(c)
	}},
	{"observe/counts", "the data plane counts requests, errors and latency", func(c *trafficRun) {
		b := startBackend(c, 1)
		r := next(c.route(), pool(1, 1, b.address))
		cl := c.client(r)
		c.apply(r)
		for range 20 {
			cl.want(c, 1)
		}
		c.counts(r, 20, 0)
		e := c.endpoint(r, 0)
		if e.State != sdk.EndpointUp {
			c.Errorf("after 20 good answers the endpoint is %q, want up", e.State)
		}
		if l := e.Latency; l.Count != 20 || l.P50 <= 0 || l.P50 > l.P99 || l.P99 > l.Max {
			c.Errorf("after 20 requests the latency is %+v", l)
		}
	}},
	{"switch/survives-restart", "the data plane goes on when the driver's process is replaced", func(c *trafficRun) {
		c.needsReopen()
		b := startBackend(c, 1)
		r := next(c.route(), pool(1, 1, b.address))
		cl := c.client(r)
		c.apply(r)
		cl.want(c, 1)
		c.Driver = c.Reopen(c)
		cl.want(c, 1)
	}},
}

// checkSwitches sends requests from several clients while the route goes back and forth between two
// revisions. Each request must be answered by the revision that was active at its begin or later.
func checkSwitches(c *trafficRun) {
	backends := []*backend{startBackend(c, 1), startBackend(c, 2)}
	r := next(c.route(), pool(1, 1, backends[0].address))
	cl := c.client(r)
	c.apply(r)

	// Generations: applied is what Apply has returned for, begun what it was called for. Both only grow.
	// Even generations belong to revision 1, as the route began with generation 2.
	var applied, begun atomic.Uint64
	applied.Store(r.Generation)
	begun.Store(r.Generation)
	revisionOf := func(generation uint64) int { return int(generation%2) + 1 }

	ctx, stop := context.WithCancel(c.Context())
	defer stop()
	var clients sync.WaitGroup
	var sent atomic.Int64
	failures := make(chan string, 1)
	for range 8 {
		clients.Go(func() {
			for ctx.Err() == nil {
				from := applied.Load()
				status, body, err := cl.get(c.Context(), "/")
				to := begun.Load()
				sent.Add(1)
				ok := err == nil && status == http.StatusOK
				if ok && from == to { // no switch touched this request: exactly one revision is right
					ok = body == fmt.Sprintf("revision %d", revisionOf(from))
				}
				if !ok {
					select {
					case failures <- fmt.Sprintf("between generations %d and %d: %d %q, %v", from, to, status, body, err):
					default:
					}
					return
				}
			}
		})
	}
	for range 50 {
		r.Generation++
		revision := revisionOf(r.Generation)
		r.Pools = []sdk.Pool{pool(revision, 1, backends[revision-1].address)}
		begun.Store(r.Generation)
		c.apply(r)
		applied.Store(r.Generation)
		target := sent.Load() + 8
		eventually(c, c.patience(), "requests between switches", func() bool {
			return sent.Load() >= target || len(failures) > 0
		})
	}
	stop()
	clients.Wait()
	select {
	case failure := <-failures:
		c.Errorf("a request failed %s", failure)
	default:
	}
}

// checkInFlight switches away from an endpoint that is busy with three requests.
func checkInFlight(c *trafficRun) {
	const busy = 3
	blue, green := startBackend(c, 1), startBackend(c, 2)
	r := next(c.route(), pool(1, 1, blue.address))
	r.Drain = c.patience()
	cl := c.client(r)
	c.apply(r)
	answers := c.slow(cl, blue, busy)
	if e := c.endpoint(r, 0); e.InFlight != busy {
		c.Errorf("with %d requests under way %d are in flight", busy, e.InFlight)
	}
	r = next(r, pool(2, 1, green.address))
	c.apply(r)
	cl.want(c, 2)
	for left := busy; left > 0; left-- {
		eventually(c, c.soon(), fmt.Sprintf("the old endpoint is draining with %d requests", left), func() bool {
			return c.draining(r.ID, blue.address) == left || len(answers) > 0
		})
		if len(answers) > 0 {
			c.Fatalf("a request in flight was ended by the switch: %s", <-answers)
		}
		blue.letOne(c, c.patience())
		c.answered(answers)
	}
	eventually(c, c.soon(), "nothing is draining any more", func() bool { return len(c.observe(r.ID).Draining) == 0 })
}

// slow sends requests that the backend does not answer yet.
func (c *trafficRun) slow(cl *client, b *backend, count int) <-chan string {
	c.Helper()
	answers := make(chan string, count)
	for range count {
		go func() {
			status, body, err := cl.get(c.Context(), "/slow")
			answers <- fmt.Sprint(status, " ", body, " ", err)
		}()
		b.await(c, c.patience())
	}
	return answers
}

// answered wants a request that was in flight at revision 1 to get its answer.
func (c *trafficRun) answered(answers <-chan string) {
	c.Helper()
	select {
	case got := <-answers:
		if got != "200 revision 1 <nil>" {
			c.Errorf("the request in flight got %q, want 200 from revision 1", got)
		}
	case <-time.After(c.patience()):
		c.Fatalf("the request in flight got no answer within %s", c.patience())
	}
}

// draining is how many requests are in flight at an endpoint that has left the route.
func (c *trafficRun) draining(route, address string) int {
	c.Helper()
	o, err := c.Driver.Observe(c.Context(), route)
	if sdk.CodeOf(err) == sdk.CodeNotFound {
		return 0
	}
	if err != nil {
		c.Fatalf("Observe: %v", err)
	}
	for _, e := range o.Draining {
		if e.ID == "i-"+address && e.State == sdk.EndpointDraining {
			return e.InFlight
		}
	}
	return 0
}
