package sdktest

import (
	"context"
	"slices"
	"time"

	"github.com/instarhq/instar/sdk"
)

var trafficMemory = []trafficCheck{
	{"remove/idempotent", "Remove ends the route and is idempotent", func(c *trafficRun) {
		r := next(c.route(), pool(1, 1, blue))
		c.apply(r)
		for range 3 {
			c.remove(r, r.Generation+1)
		}
		c.absent(r)
	}},
	{"remove/unknown-route", "Remove of an unknown route is no error", func(c *trafficRun) {
		if err := c.Driver.Remove(c.Context(), newID("unknown"), 1, 0); err != nil {
			c.Errorf("Remove of an unknown route: %v", err)
		}
	}},
	{"remove/older-apply", "I7: a removed route does not come back by an older Apply", func(c *trafficRun) {
		old := next(c.route(), pool(1, 1, blue))
		current := next(old, pool(2, 1, green))
		c.apply(current)
		c.remove(current, current.Generation+1)
		for _, r := range []sdk.Route{old, current} {
			wantCode(c, c.Driver.Apply(c.Context(), r), sdk.CodeConflict, "Apply of generation %d after removal with %d", r.Generation, current.Generation+1)
		}
		c.absent(current)
		again := current
		again.Generation += 2
		c.apply(again)
		c.inEffect(again)
	}},
	{"apply/survives-restart", "what was applied survives the driver's process", func(c *trafficRun) {
		c.needsReopen()
		r := next(c.route(), pool(1, 100, blue), sdk.Pool{
			Revision: 2, Preview: true, Endpoints: []sdk.Endpoint{{ID: "web-2", Address: green}},
		})
		c.apply(r)
		c.Driver = c.Reopen(c)
		c.inEffect(r)
	}},
	{"apply/older-generation-after-restart", "I7: a fresh process refuses older generations, also of removed routes", func(c *trafficRun) {
		c.needsReopen()
		kept, removed := next(c.route(), pool(1, 1, blue)), next(c.route(), pool(1, 1, blue))
		newer := next(kept, pool(2, 1, green))
		c.apply(newer)
		c.apply(removed)
		c.remove(removed, removed.Generation+1)
		c.Driver = c.Reopen(c)
		wantCode(c, c.Driver.Apply(c.Context(), kept), sdk.CodeConflict, "Apply of an older generation to a fresh process")
		wantCode(c, c.Driver.Apply(c.Context(), removed), sdk.CodeConflict, "Apply of a removed generation to a fresh process")
		c.inEffect(newer)
		c.absent(removed)
	}},
	{"apply/cancelled", "a cancelled Apply returns soon and can be repeated", func(c *trafficRun) {
		r := next(c.route(), pool(1, 1, blue))
		ctx, cancel := context.WithCancel(c.Context())
		cancel()
		ended := make(chan error, 1)
		go func() { ended <- c.Driver.Apply(ctx, r) }()
		awaitEnd(c, c.soon(), ended, "Apply")
		if !c.Failed() {
			c.apply(r)
			c.inEffect(r)
		}
	}},
}

func (c *trafficRun) needsReopen() {
	c.Helper()
	if c.Reopen == nil {
		c.Skipf("not run: the fixture has no Reopen")
	}
}

func (c *trafficRun) remove(r sdk.Route, generation uint64) {
	c.Helper()
	ctx, cancel := context.WithTimeout(c.Context(), c.patience())
	defer cancel()
	if err := c.Driver.Remove(ctx, r.ID, generation, time.Second); err != nil {
		c.Fatalf("Remove %s with generation %d: %v", r.ID, generation, err)
	}
}

// absent wants the data plane to have nothing of a route.
func (c *trafficRun) absent(r sdk.Route) {
	c.Helper()
	_, err := c.Driver.Observe(c.Context(), r.ID)
	wantCode(c, err, sdk.CodeNotFound, "Observe of a removed route")
	list, err := c.Driver.List(c.Context())
	if err != nil || slices.Contains(list, r.ID) {
		c.Errorf("List gives %q, %v; want it not to have %s", list, err, r.ID)
	}
}
