package sdktest

import (
	"time"

	"github.com/instarhq/instar/sdk"
)

var trafficCounts = []trafficCheck{
	{"observe/errors", "the data plane counts 5xx answers as errors of the endpoint, and 4xx not", func(c *trafficRun) {
		b := startBackend(c, 1)
		r := next(c.route(), pool(1, 1, b.address))
		cl := c.client(r)
		c.apply(r)
		for _, path := range []string{"/status/500", "/status/503", "/status/404", "/"} {
			if _, _, err := cl.get(c.Context(), path); err != nil {
				c.Fatalf("GET %s: %v", path, err)
			}
		}
		c.counts(r, 4, 2)
	}},
	{"observe/down", "an endpoint that cannot be reached is reported as down, and one that can as up", func(c *trafficRun) {
		b := startBackend(c, 1)
		dead := blue // nobody listens there
		r := next(c.route(), pool(1, 1, b.address), pool(2, 0, dead))
		r.Pools[1].Preview = true
		cl := c.client(r)
		c.apply(r)
		eventually(c, c.patience(), "the endpoint that refuses connections is down, and the other one up", func() bool {
			cl.want(c, 1)
			status, body, err := cl.get(c.Context(), "/", sdk.PreviewHeader, "2")
			if err == nil && status < 500 {
				c.Fatalf("GET of an endpoint that nobody listens at gives %d %q", status, body)
			}
			return c.endpoint(r, 1).State == sdk.EndpointDown && c.endpoint(r, 0).State == sdk.EndpointUp
		})
	}},
	{"observe/counters-kept", "the counters of an endpoint that stays go on through Apply", func(c *trafficRun) {
		one, two := startBackend(c, 1), startBackend(c, 2)
		r := next(c.route(), pool(1, 1, one.address))
		cl := c.client(r)
		c.apply(r)
		for range 5 {
			cl.want(c, 1)
		}
		r = next(r, pool(1, 0, one.address), pool(2, 1, two.address))
		c.apply(r)
		cl.want(c, 2)
		c.counts(r, 5, 0)
		r = next(r, pool(1, 1, one.address))
		c.apply(r)
		cl.want(c, 1)
		c.counts(r, 6, 0)
	}},
}

// counts wants the first endpoint to have so many requests and errors: at once, or in a moment, for a client may have
// its answer before it is counted.
func (c *trafficRun) counts(r sdk.Route, requests, failed uint64) {
	c.Helper()
	var e sdk.EndpointObservation
	for end := time.Now().Add(c.soon()); time.Now().Before(end); {
		if e = c.endpoint(r, 0); e.Requests == requests && e.Errors == failed && e.InFlight == 0 {
			return
		}
		wait := time.NewTimer(10 * time.Millisecond)
		<-wait.C
	}
	c.Errorf("the endpoint has %d requests, %d errors and %d in flight, want %d, %d and none", e.Requests, e.Errors, e.InFlight, requests, failed)
}

// endpoint observes the only endpoint of the nth pool.
func (c *trafficRun) endpoint(r sdk.Route, n int) sdk.EndpointObservation {
	c.Helper()
	o := c.observe(r.ID)
	for _, p := range o.Pools {
		if p.Revision == r.Pools[n].Revision && len(p.Endpoints) == 1 {
			return p.Endpoints[0]
		}
	}
	c.Fatalf("Observe gives %+v, want one endpoint of revision %d", o.Pools, r.Pools[n].Revision)
	return sdk.EndpointObservation{}
}
