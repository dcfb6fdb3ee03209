package sdktest

import (
	"context"
	"time"

	"github.com/instarhq/instar/sdk"
)

var trafficBackend = []trafficCheck{
	{"backend/lost", "without its data plane a driver says so, and claims nothing of it", func(c *trafficRun) {
		r := next(c.route(), pool(1, 1, blue))
		c.apply(r)
		over := c.outage(c, &c.ending)
		newer := next(r, pool(2, 1, green))
		err := within(c, c.patience(), "Apply without the data plane", func(ctx context.Context) error { return c.Driver.Apply(ctx, newer) })
		wantCode(c, err, sdk.CodeUnavailable, "Apply without the data plane")
		var o sdk.Observation
		err = within(c, c.patience(), "Observe without the data plane", func(ctx context.Context) error {
			var err error
			o, err = c.Driver.Observe(ctx, r.ID)
			return err
		})
		if sdk.CodeOf(err) != sdk.CodeUnavailable && (err != nil || o.Listening) {
			c.Errorf("Observe without the data plane: %+v, %v (code %q); want code %q, or not listening", o, err, sdk.CodeOf(err), sdk.CodeUnavailable)
		}
		over()
		c.back(r.ID)
		c.oneOf(r, newer)
		c.apply(newer)
		c.inEffect(newer)
	}},
	{"backend/survives", "I7: what was applied survives the data plane, which comes back with nothing older", func(c *trafficRun) {
		c.needsOutage(c)
		old := next(c.route(), pool(1, 1, blue))
		c.apply(old)
		current := next(old, pool(2, 1, green))
		c.apply(current)
		gone := next(c.route(), pool(1, 1, blue))
		c.apply(gone)
		c.remove(gone, gone.Generation+1)
		c.outage(c, &c.ending)()
		c.back(current.ID)
		c.inEffect(current)
		c.absent(gone)
		wantCode(c, c.Driver.Apply(c.Context(), old), sdk.CodeConflict, "Apply of an older generation after the data plane came back")
	}},
	{"backend/survives-requests", "requests are carried as before when the data plane came back, without a call", func(c *trafficRun) {
		c.needsOutage(c)
		one, two := startBackend(c, 1), startBackend(c, 2)
		r := next(c.route(), pool(1, 1, one.address))
		cl := c.client(r)
		c.apply(r)
		r = next(r, pool(2, 1, two.address))
		c.apply(r)
		cl.want(c, 2)
		c.outage(c, &c.ending)()
		eventually(c, c.patience(), "the route answers again", func() bool {
			status, body, err := cl.get(c.Context(), "/")
			if err == nil && status == 200 && body != "revision 2" {
				c.Fatalf("the data plane came back with an older state: GET gives %q", body)
			}
			return err == nil && status == 200
		})
	}},
	{"backend/lost-inside-apply", "I7: a data plane lost at any moment of Apply comes back with the old or the new state", func(c *trafficRun) {
		c.needsOutage(c)
		r := next(c.route(), pool(1, 1, blue))
		took := c.applied(r)
		for n := range c.rounds() {
			before := r
			r = next(before, pool(n+2, 1, green))
			ended := make(chan error, 1)
			go func() { ended <- c.Driver.Apply(c.Context(), r) }()
			pause := time.NewTimer(c.moment(n, took))
			<-pause.C
			over := c.outage(c, &c.ending)
			select {
			case err := <-ended:
				c.Logf("Apply ended with %v", err)
			case <-time.After(c.patience()):
				c.Fatalf("Apply did not return within %s after the data plane was lost", c.patience())
			}
			over()
			c.back(r.ID)
			c.oneOf(before, r)
			c.apply(r)
			c.inEffect(r)
		}
	}},
	{"backend/slow", "calls to a slow data plane heed their context; repeated, they take effect", func(c *trafficRun) {
		if c.Slow == nil {
			c.Skipf("not run: the harness gives no Slow data plane")
		}
		r := next(c.route(), pool(1, 1, blue))
		c.apply(r)
		c.atEnd(func() { c.Slow(c, 0) })
		newer := next(r, pool(2, 1, green))
		c.Slow(c, c.patience())
		interrupted(c, "Apply to a slow data plane", c.soon()/10, c.soon(), func(ctx context.Context) error { return c.Driver.Apply(ctx, newer) })
		interrupted(c, "Observe of a slow data plane", c.soon()/10, c.soon(), func(ctx context.Context) error {
			_, err := c.Driver.Observe(ctx, r.ID)
			return err
		})
		c.Slow(c, 0)
		c.apply(newer)
		c.inEffect(newer)
	}},
}

// back waits until the driver reaches its data plane again.
func (c *trafficRun) back(route string) {
	c.Helper()
	eventually(c, c.patience(), "the driver reaches its data plane again", func() bool {
		o, err := c.Driver.Observe(c.Context(), route)
		return err == nil && o.Listening
	})
}
