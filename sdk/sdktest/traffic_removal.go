package sdktest

import (
	"context"
	"net/http"
	"time"

	"github.com/instarhq/instar/sdk"
)

var trafficRemoval = []trafficCheck{
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
	{"remove/in-flight", "I5: requests in flight go on when their route is removed, and are reported until they end", func(c *trafficRun) {
		b := startBackend(c, 1)
		r := next(c.route(), pool(1, 1, b.address))
		cl := c.client(r)
		c.apply(r)
		answers := c.slow(cl, b, 2)
		removed := c.removal(r, c.patience())
		eventually(c, c.soon(), "the removed route is draining with two requests, or has cut them", func() bool {
			return c.draining(r.ID, b.address) == 2 || len(answers) > 0
		})
		if len(answers) > 0 {
			c.Fatalf("Remove with a drain of %s ended a request in flight: %s", c.patience(), <-answers)
		}
		if status, body, err := c.client(r).get(c.Context(), "/"); err == nil && status < 400 {
			c.Errorf("GET while the removed route drains: %d %q, want a refusal", status, body)
		}
		b.letOne(c, c.patience())
		c.answered(answers)
		eventually(c, c.soon(), "one request is left", func() bool { return c.draining(r.ID, b.address) == 1 })
		close(b.release)
		c.answered(answers)
		if err := <-removed; err != nil {
			c.Errorf("Remove: %v", err)
		}
		eventually(c, c.patience(), "nothing is left of the route", func() bool {
			_, err := c.Driver.Observe(c.Context(), r.ID)
			return sdk.CodeOf(err) == sdk.CodeNotFound
		})
	}},
	{"remove/drain-deadline", "requests that are still in flight after the drain are ended", func(c *trafficRun) {
		b := startBackend(c, 1)
		r := next(c.route(), pool(1, 1, b.address))
		cl := c.client(r)
		c.apply(r)
		answers := c.slow(cl, b, 1)
		removed := c.removal(r, 300*time.Millisecond)
		select {
		case got := <-answers:
			c.Logf("the request that outlived the drain got %s", got)
		case <-time.After(c.patience()):
			c.Errorf("a request is still in flight %s after a drain of 300ms", c.patience())
		}
		if err := <-removed; err != nil {
			c.Errorf("Remove: %v", err)
		}
		close(b.release)
	}},
	{"remove/frees-address", "a removed route's address can be used by another route", func(c *trafficRun) {
		one, two := startBackend(c, 1), startBackend(c, 2)
		r := next(c.route(), pool(1, 1, one.address))
		cl := c.client(r)
		c.apply(r)
		cl.want(c, 1)
		c.remove(r, r.Generation+1)
		other := next(c.route(), pool(2, 1, two.address))
		other.Listen = r.Listen
		c.apply(other)
		c.client(other).want(c, 2)
	}},
	{"apply/no-pools", "a route without anything to send to answers 503 at once", func(c *trafficRun) {
		r := next(c.route())
		cl := c.client(r)
		c.apply(r)
		ctx, cancel := context.WithTimeout(c.Context(), c.patience())
		defer cancel()
		if status, body, err := cl.get(ctx, "/"); err != nil || status != http.StatusServiceUnavailable {
			c.Errorf("GET of a route without pools: %d %q, %v; want 503", status, body, err)
		}
	}},
	{"apply/address-in-use", "Apply fails if it cannot listen, and can be repeated when it can", func(c *trafficRun) {
		b := startBackend(c, 1)
		r := next(c.route(), pool(1, 1, b.address))
		cl := c.client(r)
		occupant := occupy(c, r.Listen)
		err := within(c, c.patience(), "Apply at an address in use", func(ctx context.Context) error { return c.Driver.Apply(ctx, r) })
		if code := sdk.CodeOf(err); code != sdk.CodeUnavailable && code != sdk.CodeConflict && code != sdk.CodeInvalidConfig {
			c.Errorf("Apply at an address in use: %v (code %q), want code %q, %q or %q", err, code,
				sdk.CodeUnavailable, sdk.CodeConflict, sdk.CodeInvalidConfig)
		}
		if o, err := c.Driver.Observe(c.Context(), r.ID); err == nil && o.Listening {
			c.Errorf("Observe says that the route listens at an address in use")
		}
		occupant()
		eventually(c, c.patience(), "Apply succeeds when the address is free", func() bool {
			return c.Driver.Apply(c.Context(), r) == nil
		})
		cl.want(c, 1)
	}},
}

// removal removes a route in the background: a driver may wait for the drain.
func (c *trafficRun) removal(r sdk.Route, drain time.Duration) <-chan error {
	done := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(c.Context(), 2*c.patience())
		defer cancel()
		done <- c.Driver.Remove(ctx, r.ID, r.Generation+1, drain)
	}()
	return done
}
