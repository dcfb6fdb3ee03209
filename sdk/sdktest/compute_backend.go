package sdktest

import (
	"context"
	"time"

	"github.com/instarhq/instar/sdk"
)

var computeBackend = []computeCheck{
	{"backend/lost", "without its backend a driver says Unavailable: nothing is said to be gone that may be there", func(c *computeRun) {
		c.needsOutage(c)
		spec, late := c.spec(), c.spec()
		first := c.create(spec)
		over := c.outage(c, &c.ending)
		for what, call := range map[string]func(context.Context) error{
			"Create":            func(ctx context.Context) error { _, err := c.Driver.Create(ctx, late); return err },
			"a repeated Create": func(ctx context.Context) error { _, err := c.Driver.Create(ctx, spec); return err },
			"Inspect":           func(ctx context.Context) error { _, err := c.Driver.Inspect(ctx, spec.ID); return err },
			"List":              func(ctx context.Context) error { _, err := c.Driver.List(ctx, c.Configure.Cluster); return err },
			"Destroy":           func(ctx context.Context) error { return c.Driver.Destroy(ctx, spec.ID, time.Second) },
		} {
			err := within(c, c.patience(), what+" without the backend", call)
			wantCode(c, err, sdk.CodeUnavailable, "%s without the backend", what)
		}
		over()
		c.back()
		i, err := c.Driver.Inspect(c.Context(), spec.ID)
		if err != nil {
			c.Fatalf("Inspect after the backend came back: %v", err)
		}
		c.labels("Inspect after the backend came back", i, first)
		if again := c.create(spec); !again.Created.Equal(first.Created) {
			c.Errorf("a repeated Create after the backend came back made another instance")
		}
		c.create(late)
		c.running(late.ID)
		c.nothingHidden()
		c.destroy(spec.ID)
		c.destroy(late.ID)
		c.nothingOf(spec.ID)
	}},
	{"backend/lost-watch", "a Watch reports nothing as destroyed because the backend is away", func(c *computeRun) {
		c.needsOutage(c)
		spec := c.spec()
		c.create(spec)
		w := c.watch()
		w.await(spec.ID, sdk.StateRunning, c.patience())
		over := c.outage(c, &c.ending)
		throughout(c, c.soon()/2, "the instance is not reported as destroyed", func() bool { return !w.was(spec.ID, sdk.StateDestroyed) })
		over()
		c.back()
		late := c.spec()
		c.create(late)
		after := c.watch() // the first one may have ended with the backend
		after.await(late.ID, sdk.StateRunning, c.patience())
		if w.was(spec.ID, sdk.StateDestroyed) || after.was(spec.ID, sdk.StateDestroyed) {
			c.Errorf("Watch reported as destroyed what the backend still has")
		}
	}},
	{"backend/lost-inside-create", "I4: a backend lost at any moment of Create leaves nothing, or an instance that is found again", func(c *computeRun) {
		c.needsOutage(c)
		c.atMoments(c.created(), func(spec sdk.InstanceSpec, after time.Duration) {
			c.lostInside("Create", after, func(ctx context.Context) error {
				_, err := c.Driver.Create(ctx, spec)
				return err
			})
			c.whole(spec)
			c.destroy(spec.ID)
			c.nothingOf(spec.ID)
		})
	}},
	{"backend/lost-inside-destroy", "I4: a backend lost at any moment of Destroy leaves what a repeated Destroy ends", func(c *computeRun) {
		c.needsOutage(c)
		c.atMoments(c.destroyed(), func(spec sdk.InstanceSpec, after time.Duration) {
			c.create(spec)
			c.lostInside("Destroy", after, func(ctx context.Context) error { return c.Driver.Destroy(ctx, spec.ID, time.Second) })
			c.destroy(spec.ID)
			c.nothingOf(spec.ID)
		})
	}},
	{"backend/slow", "I4: calls to a slow backend heed their context; repeated, they make one instance", func(c *computeRun) {
		if c.Slow == nil {
			c.Skipf("not run: the harness gives no Slow backend")
		}
		c.atEnd(func() { c.Slow(c, 0) })
		for _, delay := range []time.Duration{c.soon(), c.patience()} {
			spec := c.spec()
			c.Slow(c, delay)
			c.cancelled("Create at a slow backend", c.soon()/10, func(ctx context.Context) error {
				_, err := c.Driver.Create(ctx, spec)
				return err
			})
			c.cancelled("List at a slow backend", c.soon()/10, func(ctx context.Context) error {
				_, err := c.Driver.List(ctx, c.Configure.Cluster)
				return err
			})
			c.Slow(c, 0)
			c.whole(spec)
			c.destroy(spec.ID)
			c.nothingOf(spec.ID)
		}
	}},
}

// lostInside takes the backend away in the middle of a call, and gives it back when the call has ended.
func (c *computeRun) lostInside(what string, after time.Duration, call func(context.Context) error) {
	c.Helper()
	ended := make(chan error, 1)
	go func() { ended <- call(c.Context()) }()
	pause := time.NewTimer(after)
	<-pause.C
	over := c.outage(c, &c.ending)
	select {
	case err := <-ended: // it may have come to its end before
		c.Logf("%s ended with %v", what, err)
	case <-time.After(c.patience()):
		c.Fatalf("%s did not return within %s after the backend was lost", what, c.patience())
	}
	over()
	c.back()
}

// back waits until the driver reaches its backend again.
func (c *computeRun) back() {
	c.Helper()
	eventually(c, c.patience(), "the driver reaches its backend again", func() bool {
		_, err := c.Driver.List(c.Context(), c.Configure.Cluster)
		return err == nil
	})
}
