package sdktest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/instarhq/instar/sdk"
)

var trafficInterrupted = []trafficCheck{
	{"apply/concurrent-generations", "I7: of concurrent Applies the newest wins, and Observe never gives a mixture", func(c *trafficRun) {
		checkConcurrentGenerations(c)
	}},
	{"apply/cancelled-inside", "an Apply that is cancelled at any moment returns soon and leaves the old or the new state", func(c *trafficRun) {
		r := next(c.route(), pool(1, 1, blue))
		took := c.applied(r)
		for n := range c.rounds() {
			before, after := r, next(r, pool(n+2, 1, green))
			interrupted(c, "Apply", c.moment(n, took), c.soon(), func(ctx context.Context) error { return c.Driver.Apply(ctx, after) })
			c.oneOf(before, after)
			c.apply(after)
			c.inEffect(after)
			r = after
		}
	}},
	{"apply/crash-inside", "I7: a driver killed at any moment of Apply comes back with the old or the new state, and takes no older one", func(c *trafficRun) {
		c.needsReopen()
		oldest := next(c.route(), pool(1, 1, blue))
		r := next(oldest, pool(2, 1, blue))
		took := c.applied(r)
		for n := range c.rounds() {
			before, after := r, next(r, pool(n+3, 1, green))
			r = after
			c.crashed(c.moment(n, took), func(ctx context.Context, d sdk.Traffic) error { return d.Apply(ctx, after) })
			c.oneOf(before, r)
			wantCode(c, c.Driver.Apply(c.Context(), oldest), sdk.CodeConflict, "Apply of an older generation after a crash inside Apply")
			c.apply(r)
			c.inEffect(r)
			wantCode(c, c.Driver.Apply(c.Context(), before), sdk.CodeConflict, "Apply of the generation before")
		}
	}},
	{"remove/crash-inside", "I7: a driver killed at any moment of Remove ends the route when it is repeated, and remembers the generation", func(c *trafficRun) {
		c.needsReopen()
		first := next(c.route(), pool(1, 1, blue))
		c.apply(first)
		began := time.Now()
		c.remove(first, first.Generation+1)
		took := time.Since(began)
		for n := range c.rounds() {
			r := next(c.route(), pool(1, 1, blue))
			c.apply(r)
			c.crashed(c.moment(n, took), func(ctx context.Context, d sdk.Traffic) error {
				return d.Remove(ctx, r.ID, r.Generation+1, time.Second)
			})
			c.remove(r, r.Generation+1)
			c.absent(r)
			wantCode(c, c.Driver.Apply(c.Context(), r), sdk.CodeConflict, "Apply of a generation whose removal a crash interrupted")
		}
	}},
	{"remove/older-generation", "I7: Remove with an older generation is Conflict and changes nothing", func(c *trafficRun) {
		old := next(c.route(), pool(1, 1, blue))
		current := next(old, pool(2, 1, green))
		c.apply(current)
		err := c.Driver.Remove(c.Context(), current.ID, old.Generation, 0)
		wantCode(c, err, sdk.CodeConflict, "Remove with generation %d of a route of generation %d", old.Generation, current.Generation)
		c.inEffect(current)
	}},
	{"remove/after-restart", "a fresh process removes what the old one applied", func(c *trafficRun) {
		c.needsReopen()
		r := next(c.route(), pool(1, 1, blue))
		c.apply(r)
		c.Driver = c.Reopen(c)
		c.remove(r, r.Generation+1)
		c.absent(r)
	}},
	{"list/complete-after-restart", "List of a fresh process has every route that was applied, and no removed one", func(c *trafficRun) {
		c.needsReopen()
		one, two, gone := next(c.route(), pool(1, 1, blue)), next(c.route(), pool(2, 1, green)), next(c.route(), pool(1, 1, blue))
		for _, r := range []sdk.Route{one, two, gone} {
			c.apply(r)
		}
		c.remove(gone, gone.Generation+1)
		c.Driver = c.Reopen(c)
		for _, r := range []sdk.Route{one, two} {
			c.wantListed(r.ID)
			c.inEffect(r)
		}
		c.absent(gone)
	}},
}

// checkConcurrentGenerations applies several generations at the same time, in any order.
func checkConcurrentGenerations(c *trafficRun) {
	c.Helper()
	const count = 8
	r := next(c.route(), pool(1, 1, blue))
	c.apply(r)
	var routes []sdk.Route
	for n := range count {
		newer := r
		newer.Generation += uint64(n) + 1
		newer.Pools = []sdk.Pool{pool(int(newer.Generation), 1, fmt.Sprintf("127.0.0.1:%d", n+2))}
		routes = append(routes, newer)
	}
	newest := routes[count-1]
	var appliers sync.WaitGroup
	for _, n := range rand.Perm(count) {
		appliers.Go(func() {
			err := c.Driver.Apply(c.Context(), routes[n])
			if err != nil && sdk.CodeOf(err) != sdk.CodeConflict || err != nil && n == count-1 {
				c.Errorf("Apply of generation %d of %d beside the others: %v (code %q)", routes[n].Generation, newest.Generation, err, sdk.CodeOf(err))
			}
		})
	}
	done := make(chan struct{})
	go func() { appliers.Wait(); close(done) }()
	seen := r.Generation
	for ended := false; !ended; {
		select {
		case <-done:
			ended = true
		default:
		}
		o := c.observe(r.ID)
		if o.Generation < seen {
			c.Errorf("Observe gave generation %d after %d", o.Generation, seen)
		}
		seen = max(seen, o.Generation)
		revision := int(o.Generation)
		if o.Generation == r.Generation {
			revision = 1 // what was there at first
		}
		if len(o.Pools) != 1 || o.Pools[0].Revision != revision {
			c.Errorf("Observe gives generation %d with the pools of another: %+v", o.Generation, o.Pools)
		}
		if c.Failed() {
			<-done
			return
		}
	}
	c.inEffect(newest)
}

// applied applies a route and measures how long that takes.
func (c *trafficRun) applied(r sdk.Route) time.Duration {
	c.Helper()
	began := time.Now()
	c.apply(r)
	return time.Since(began)
}

// oneOf wants one of two routes to be in effect, the whole of it.
func (c *trafficRun) oneOf(before, after sdk.Route) {
	c.Helper()
	o := c.observe(before.ID)
	if o.Generation == after.Generation {
		c.inEffect(after)
		return
	}
	// The interrupted call may still be at work in the driver: the state before is judged as it was read.
	if got, want := shapeOf(o), shapeOfRoute(before); o.Generation != before.Generation || !slices.Equal(got, want) {
		c.Errorf("Observe gives generation %d with endpoints %v; want %d with %v, or all of generation %d",
			o.Generation, clipped(got), before.Generation, clipped(want), after.Generation)
	}
}

// crashed replaces the process after a while, with the call under way, as computeRun.crashed does.
func (c *trafficRun) crashed(after time.Duration, call func(context.Context, sdk.Traffic) error) {
	c.Helper()
	old := c.Driver
	if c.Crash == nil {
		interrupted(c, "a call", after, c.soon(), func(ctx context.Context) error { return call(ctx, old) })
		c.Driver = c.Reopen(c)
		return
	}
	ended := make(chan error, 1)
	go func() { ended <- call(c.Context(), old) }()
	pause := time.NewTimer(after)
	<-pause.C
	c.Driver = c.Crash(c)
	awaitEnd(c, c.patience(), ended, "a call to the process that was killed")
}
