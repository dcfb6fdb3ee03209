package sdktest

import (
	"fmt"
	"time"

	"github.com/instarhq/instar/sdk"
)

var trafficHold = []trafficCheck{
	{"hold/unsupported", "Hold and Release are Unsupported without the capability", func(c *trafficRun) {
		if c.has(sdk.CapHold) {
			c.Skipf("not run: the driver declares capability %q", sdk.CapHold)
		}
		r := next(c.route(), pool(1, 1, blue))
		c.apply(r)
		wantCode(c, c.Driver.Hold(c.Context(), r.ID, sdk.HoldLimits{}), sdk.CodeUnsupported, "Hold")
		wantCode(c, c.Driver.Release(c.Context(), r.ID), sdk.CodeUnsupported, "Release")
	}},
	{"hold/unknown-route", "Hold of an unknown route is NotFound", func(c *trafficRun) {
		c.needsHold()
		wantCode(c, c.Driver.Hold(c.Context(), newID("unknown"), sdk.HoldLimits{}), sdk.CodeNotFound, "Hold of an unknown route")
	}},
	{"hold/release", "held requests go to the pools as they are at the release", func(c *trafficRun) {
		c.needsHold()
		blue, green := startBackend(c, 1), startBackend(c, 2)
		r := next(c.route(), pool(1, 1, blue.address))
		cl := c.client(r)
		c.apply(r)
		c.hold(r, sdk.HoldLimits{Requests: 10, Timeout: c.patience()})
		const waiting = 4
		answers := make(chan string, waiting)
		for range waiting {
			go func() {
				status, body, err := cl.get(c.Context(), "/")
				answers <- fmt.Sprint(status, " ", body, " ", err)
			}()
		}
		eventually(c, c.patience(), "four requests are held", func() bool {
			return c.observe(r.ID).Held == waiting || len(answers) > 0
		})
		r = next(r, pool(2, 1, green.address))
		c.apply(r)
		if len(answers) > 0 {
			c.Fatalf("a held request was let through before the release: %s", <-answers)
		}
		if err := c.Driver.Release(c.Context(), r.ID); err != nil {
			c.Fatalf("Release: %v", err)
		}
		for range waiting {
			if got := <-answers; got != "200 revision 2 <nil>" {
				c.Errorf("a held request got %q, want 200 from revision 2", got)
			}
		}
	}},
	{"hold/limit", "requests over the limit of a hold are refused with 503", func(c *trafficRun) {
		c.needsHold()
		b := startBackend(c, 1)
		r := next(c.route(), pool(1, 1, b.address))
		cl := c.client(r)
		c.apply(r)
		c.hold(r, sdk.HoldLimits{Requests: 1, Timeout: c.patience()})
		first := make(chan int, 1)
		go func() {
			status, _, _ := cl.get(c.Context(), "/")
			first <- status
		}()
		eventually(c, c.patience(), "one request is held", func() bool { return c.observe(r.ID).Held == 1 })
		if status, body, err := cl.get(c.Context(), "/"); err != nil || status != 503 {
			c.Errorf("the request over the limit got %d %q, %v; want 503", status, body, err)
		}
		if err := c.Driver.Release(c.Context(), r.ID); err != nil {
			c.Fatalf("Release: %v", err)
		}
		if status := <-first; status != 200 {
			c.Errorf("the held request got %d, want 200", status)
		}
	}},
	{"hold/timeout", "a hold ends by itself", func(c *trafficRun) {
		c.needsHold()
		b := startBackend(c, 1)
		r := next(c.route(), pool(1, 1, b.address))
		cl := c.client(r)
		c.apply(r)
		c.hold(r, sdk.HoldLimits{Timeout: 300 * time.Millisecond})
		eventually(c, c.patience(), "the route answers again", func() bool {
			status, _, err := cl.get(c.Context(), "/")
			return err == nil && status == 200
		})
	}},
}

func (c *trafficRun) needsHold() {
	c.Helper()
	if !c.has(sdk.CapHold) {
		c.Skipf("not run: the driver does not declare capability %q", sdk.CapHold)
	}
}

func (c *trafficRun) hold(r sdk.Route, limits sdk.HoldLimits) {
	c.Helper()
	if err := c.Driver.Hold(c.Context(), r.ID, limits); err != nil {
		c.Fatalf("Hold: %v", err)
	}
}
