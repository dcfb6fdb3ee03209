package sdktest

import (
	"sync"
	"time"

	"github.com/instarhq/instar/sdk"
)

var computeDestroy = []computeCheck{
	{"destroy/leaves-nothing", "I4: Destroy leaves nothing and is idempotent", func(c *computeRun) {
		spec := c.spec()
		c.create(spec)
		for range 3 {
			c.destroy(spec.ID)
		}
		if i, ok := c.listed(spec.ID); ok {
			c.Errorf("List has the destroyed instance: %+v", i)
		}
		_, err := c.Driver.Inspect(c.Context(), spec.ID)
		wantCode(c, err, sdk.CodeNotFound, "Inspect of a destroyed instance")
	}},
	{"destroy/unknown-id", "Destroy of an unknown id is no error", func(c *computeRun) {
		if err := c.Driver.Destroy(c.Context(), newID("unknown"), time.Second); err != nil {
			c.Errorf("Destroy of an unknown id: %v", err)
		}
	}},
	{"destroy/concurrent", "concurrent Destroys of one id all succeed", func(c *computeRun) {
		spec := c.spec()
		c.create(spec)
		var group sync.WaitGroup
		errs := make([]error, 8)
		for n := range errs {
			group.Go(func() { errs[n] = c.Driver.Destroy(c.Context(), spec.ID, time.Second) })
		}
		group.Wait()
		for _, err := range errs {
			if err != nil {
				c.Errorf("concurrent Destroy: %v", err)
			}
		}
		_, err := c.Driver.Inspect(c.Context(), spec.ID)
		wantCode(c, err, sdk.CodeNotFound, "Inspect of a destroyed instance")
	}},
	{"destroy/after-restart", "I4: a fresh process destroys what the old one made", func(c *computeRun) {
		spec := c.spec()
		c.create(spec)
		c.reopen()
		c.destroy(spec.ID)
		if i, ok := c.listed(spec.ID); ok {
			c.Errorf("List has the destroyed instance: %+v", i)
		}
	}},
	{"destroy/exited", "an instance that has exited says how, and is destroyed as any other", func(c *computeRun) {
		c.needs(c.Exits != nil, "Exits")
		spec := c.spec()
		spec.Config = c.Exits
		c.create(spec)
		i := c.exited(spec.ID)
		if i.Exit.Message == "" || (i.Exit.Code == 0 && i.Exit.Signal == "") {
			c.Errorf("exit is %+v, want a status that is not 0 and a message", *i.Exit)
		}
		c.destroy(spec.ID)
		_, err := c.Driver.Inspect(c.Context(), spec.ID)
		wantCode(c, err, sdk.CodeNotFound, "Inspect of a destroyed instance")
	}},
	{"destroy/leaves-others", "I5: Destroy of one instance leaves the others", func(c *computeRun) {
		one, two := c.spec(), c.spec()
		c.create(one)
		other := c.create(two)
		c.destroy(one.ID)
		i, err := c.Driver.Inspect(c.Context(), two.ID)
		if err != nil || i.State != sdk.StateRunning {
			c.Fatalf("the other instance is %q, %v; want running", i.State, err)
		}
		c.same("the other instance", i, other)
	}},
}
