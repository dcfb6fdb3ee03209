package sdktest

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/instarhq/instar/sdk"
)

var computeInterrupted = []computeCheck{
	{"create/cancelled", "I4: a cancelled Create returns soon and can be repeated", func(c *computeRun) {
		spec := c.spec()
		ctx, cancel := context.WithCancel(c.Context())
		cancel()
		ended := make(chan error, 1)
		go func() {
			_, err := c.Driver.Create(ctx, spec)
			ended <- err
		}()
		awaitEnd(c, c.soon(), ended, "Create")
		if c.Failed() {
			return
		}
		// Whatever the cancelled call got to, the next one makes it whole.
		if i := c.create(spec); i.State != sdk.StateRunning {
			c.Errorf("Create after a cancelled one gives state %q, want running", i.State)
		}
		if _, ok := c.listed(spec.ID); !ok {
			c.Errorf("List does not have the instance")
		}
	}},
	{"create/cancelled-inside", "I4: a Create that is cancelled at any moment returns soon; repeated, it makes one instance", func(c *computeRun) {
		c.atMoments(c.created(), func(spec sdk.InstanceSpec, after time.Duration) {
			c.cancelled("Create", after, func(ctx context.Context) error {
				_, err := c.Driver.Create(ctx, spec)
				return err
			})
			c.whole(spec)
		})
	}},
	{"create/cancelled-then-destroyed", "I4: after a cancelled Create, Destroy leaves nothing, and nothing comes later", func(c *computeRun) {
		took := c.created()
		c.atMoments(took, func(spec sdk.InstanceSpec, after time.Duration) {
			c.cancelled("Create", after, func(ctx context.Context) error {
				_, err := c.Driver.Create(ctx, spec)
				return err
			})
			c.destroy(spec.ID)
			c.nothingOf(spec.ID)
			throughout(c, max(took, c.soon()/10), "the destroyed instance stays away", func() bool {
				_, there := c.listed(spec.ID)
				return !there
			})
			c.nothingHidden()
		})
	}},
	{"create/crash-inside", "I4: a driver killed at any moment of Create leaves nothing, or an instance that is found again", func(c *computeRun) {
		c.needs(c.Reopen != nil, "Reopen")
		c.atMoments(c.created(), func(spec sdk.InstanceSpec, after time.Duration) {
			c.crashed(after, func(ctx context.Context, d sdk.Compute) error {
				_, err := d.Create(ctx, spec)
				return err
			})
			c.whole(spec)
		})
	}},
	{"create/crash-then-destroyed", "I4: after a crash inside Create, Destroy leaves nothing", func(c *computeRun) {
		c.needs(c.Reopen != nil, "Reopen")
		c.atMoments(c.created(), func(spec sdk.InstanceSpec, after time.Duration) {
			c.crashed(after, func(ctx context.Context, d sdk.Compute) error {
				_, err := d.Create(ctx, spec)
				return err
			})
			c.destroy(spec.ID)
			c.nothingOf(spec.ID)
		})
	}},
	{"create/racing-destroy", "I4: Create and Destroy of one id at the same time leave an instance or none, never half of one", func(c *computeRun) {
		for range c.rounds() {
			spec := c.spec()
			var group sync.WaitGroup
			var createErr, destroyErr error
			group.Go(func() { _, createErr = c.Driver.Create(c.Context(), spec) })
			group.Go(func() { destroyErr = c.Driver.Destroy(c.Context(), spec.ID, time.Second) })
			group.Wait()
			if createErr != nil && sdk.CodeOf(createErr) != sdk.CodeConflict {
				c.Errorf("Create beside Destroy: %v (code %q), want no error or code %q", createErr, sdk.CodeOf(createErr), sdk.CodeConflict)
			}
			if destroyErr != nil {
				c.Errorf("Destroy beside Create: %v", destroyErr)
			}
			c.nothingHidden()
			c.destroy(spec.ID)
			c.nothingOf(spec.ID)
		}
	}},
	{"destroy/cancelled", "I4: a Destroy that is cancelled at any moment returns soon; repeated, it leaves nothing", func(c *computeRun) {
		grace := time.Second
		if c.Stubborn != nil {
			grace = c.patience() // long enough that only the cancellation can end the wait
		}
		c.atMoments(c.destroyed(), func(spec sdk.InstanceSpec, after time.Duration) {
			if c.Stubborn != nil {
				spec.Config = c.Stubborn
			}
			c.create(spec)
			c.deaf(spec.ID)
			c.cancelled("Destroy", after, func(ctx context.Context) error { return c.Driver.Destroy(ctx, spec.ID, grace) })
			err := within(c, c.patience(), "a repeated Destroy", func(ctx context.Context) error { return c.Driver.Destroy(ctx, spec.ID, 0) })
			if err != nil {
				c.Errorf("Destroy after a cancelled one: %v", err)
			}
			c.nothingOf(spec.ID)
		})
	}},
	{"destroy/crash-inside", "I4: a driver killed at any moment of Destroy leaves what a repeated Destroy ends", func(c *computeRun) {
		c.needs(c.Reopen != nil, "Reopen")
		c.atMoments(c.destroyed(), func(spec sdk.InstanceSpec, after time.Duration) {
			c.create(spec)
			c.crashed(after, func(ctx context.Context, d sdk.Compute) error { return d.Destroy(ctx, spec.ID, time.Second) })
			c.destroy(spec.ID)
			c.nothingOf(spec.ID)
			_, err := c.Driver.Create(c.Context(), spec)
			wantCode(c, err, sdk.CodeConflict, "Create of an id whose Destroy a crash interrupted")
		})
	}},
	{"destroy/stubborn", "Destroy kills what is still there after the grace", func(c *computeRun) {
		c.needs(c.Stubborn != nil, "Stubborn")
		spec := c.spec()
		spec.Config = c.Stubborn
		c.create(spec)
		c.deaf(spec.ID)
		began := time.Now()
		err := within(c, c.patience(), "Destroy of an instance that does not stop", func(ctx context.Context) error {
			return c.Driver.Destroy(ctx, spec.ID, time.Second)
		})
		if took := time.Since(began); err != nil || took < time.Second {
			c.Errorf("Destroy with a grace of 1s took %s, %v; want it to wait for the grace, and then to kill", took, err)
		}
		c.nothingOf(spec.ID)
	}},
}

// deaf waits until a Stubborn instance says that it does not listen any more: a program that runs has not come that
// far yet, and ends at once if it is asked then.
func (c *computeRun) deaf(id string) {
	c.Helper()
	if c.Stubborn == nil || !slices.Contains(describe(c.Context(), c, c.Driver).Capabilities, sdk.CapLogs) {
		return
	}
	eventually(c, c.patience(), `the stubborn instance writes "stubborn"`, func() bool {
		return slices.Contains(c.output(id, "stdout"), "stubborn")
	})
}

// created measures how long a Create takes.
func (c *computeRun) created() time.Duration {
	c.Helper()
	spec := c.spec()
	began := time.Now()
	c.create(spec)
	return time.Since(began)
}

// destroyed measures how long a Destroy takes.
func (c *computeRun) destroyed() time.Duration {
	c.Helper()
	spec := c.spec()
	c.create(spec)
	began := time.Now()
	c.destroy(spec.ID)
	return time.Since(began)
}

// atMoments runs a round for each of several moments in a call that takes so long.
func (c *computeRun) atMoments(took time.Duration, round func(sdk.InstanceSpec, time.Duration)) {
	c.Helper()
	for n := range c.rounds() {
		after := c.moment(n, took)
		spec := c.spec()
		round(spec, after)
		if c.Failed() {
			c.Fatalf("(interrupted after %s of the about %s that the call takes)", after, took)
		}
	}
}

// cancelled cancels a call after a while, and wants it to end soon then.
func (c *computeRun) cancelled(what string, after time.Duration, call func(context.Context) error) {
	c.Helper()
	interrupted(c, what, after, c.soon(), call)
}

// crashed replaces the process after a while, with the call under way. Without Crash the call is cancelled and its
// end is waited for: the old process is gone all the same, and has not come to its end.
func (c *computeRun) crashed(after time.Duration, call func(context.Context, sdk.Compute) error) {
	c.Helper()
	old := c.Driver
	if c.Crash == nil {
		interrupted(c, "a call", after, c.soon(), func(ctx context.Context) error { return call(ctx, old) })
		c.reopen()
		return
	}
	ended := make(chan error, 1)
	go func() { ended <- call(c.Context(), old) }()
	pause := time.NewTimer(after)
	<-pause.C
	c.Driver = c.Crash(c)
	awaitEnd(c, c.patience(), ended, "a call to the process that was killed")
}

// interrupted cancels a call after a while, and wants it to end soon then.
func interrupted(t T, what string, after, limit time.Duration, call func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- call(ctx) }()
	pause := time.NewTimer(after)
	<-pause.C
	cancel()
	awaitEnd(t, limit, ended, what)
}

// whole wants an interrupted Create to be made whole by the next one.
func (c *computeRun) whole(spec sdk.InstanceSpec) {
	c.Helper()
	before, there := c.listed(spec.ID)
	made := c.create(spec)
	if made.State != sdk.StateRunning {
		c.Errorf("Create after an interrupted one gives state %q, want running", made.State)
	}
	if there && before.State == sdk.StateRunning {
		c.same("Create after an interrupted one", made, before)
	}
	if _, ok := c.listed(spec.ID); !ok {
		c.Errorf("List does not have the instance")
	}
	c.nothingHidden()
}
