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
	{"switch/in-flight", "I5: requests in flight go on and are reported until they end", func(c *trafficRun) {
		checkInFlight(c)
	}},
	{"remove/refuses-new", "a removed route refuses new requests at once", func(c *trafficRun) {
		b := startBackend(c, 1)
		r := next(c.route(), pool(1, 1, b.address))
		cl := c.client(r)
		c.apply(r)
		cl.want(c, 1)
		c.remove(r, r.Generation+1)
		if status, body, err := cl.get(c.Context(), "/"); err == nil && status < 400 {
			c.Errorf("GET after Remove: %d %q, want a refusal", status, body)
		}
	}},
	{"observe/counts", "the data plane counts requests, errors and latency", func(c *trafficRun) {
		b := startBackend(c, 1)
		r := next(c.route(), pool(1, 1, b.address))
		cl := c.client(r)
		c.apply(r)
		for range 20 {
			cl.want(c, 1)
		}
		e := c.observe(r.ID).Pools[0].Endpoints[0]
		if e.Requests != 20 || e.Errors != 0 || e.InFlight != 0 || e.State != sdk.EndpointUp {
			c.Errorf("after 20 requests the endpoint is %+v", e)
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
		eventually(c, patience, "requests between switches", func() bool {
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

// checkInFlight switches away from an endpoint that is busy with a request.
func checkInFlight(c *trafficRun) {
	blue, green := startBackend(c, 1), startBackend(c, 2)
	r := next(c.route(), pool(1, 1, blue.address))
	r.Drain = patience
	cl := c.client(r)
	c.apply(r)
	answer := make(chan string, 1)
	go func() {
		status, body, err := cl.get(c.Context(), "/slow")
		answer <- fmt.Sprint(status, " ", body, " ", err)
	}()
	blue.await(c)
	if e := c.observe(r.ID).Pools[0].Endpoints[0]; e.InFlight != 1 {
		c.Errorf("with a request under way %d are in flight, want 1", e.InFlight)
	}
	r = next(r, pool(2, 1, green.address))
	c.apply(r)
	cl.want(c, 2)
	o := c.observe(r.ID)
	if len(o.Draining) != 1 || o.Draining[0].ID != "i-"+blue.address || o.Draining[0].InFlight != 1 || o.Draining[0].State != sdk.EndpointDraining {
		c.Errorf("draining is %+v, want the old endpoint with one request", o.Draining)
	}
	close(blue.release)
	select {
	case got := <-answer:
		if got != "200 revision 1 <nil>" {
			c.Errorf("the request in flight got %q, want 200 from revision 1", got)
		}
	case <-time.After(patience):
		c.Fatalf("the request in flight got no answer within %s", patience)
	}
	eventually(c, soon, "nothing is draining any more", func() bool { return len(c.observe(r.ID).Draining) == 0 })
}
