package sdktest

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/instarhq/instar/sdk"
)

var computeStreams = []computeCheck{
	{"watch/present-state", "Watch begins with the present state of every instance", func(c *computeRun) {
		spec := c.spec()
		made := c.create(spec)
		w := c.watch()
		i := w.await(spec.ID, sdk.StateRunning, 5*time.Second)
		c.same("Watch", i, made)
	}},
	{"watch/create-destroy", "Watch reports Create and Destroy within a second", func(c *computeRun) {
		w := c.watch()
		spec := c.spec()
		c.create(spec)
		w.await(spec.ID, sdk.StateRunning, c.soon())
		c.destroy(spec.ID)
		w.await(spec.ID, sdk.StateDestroyed, c.soon())
	}},
	{"watch/exit", "Watch reports an exit within a second", func(c *computeRun) {
		c.needs(c.Exits != nil, "Exits")
		w := c.watch()
		spec := c.spec()
		spec.Config = c.Exits
		c.create(spec)
		i := w.await(spec.ID, sdk.StateExited, c.patience())
		if i.Exit == nil {
			c.Fatalf("the event has no Exit")
		}
		if late := time.Since(i.Exit.At); !i.Exit.At.IsZero() && late > c.soon() {
			c.Errorf("the exit was reported %s after it happened", late)
		}
	}},
	{"watch/independent", "Watches do not disturb each other", func(c *computeRun) {
		first, second := c.watch(), c.watch()
		first.stop()
		spec := c.spec()
		c.create(spec)
		second.await(spec.ID, sdk.StateRunning, c.soon())
	}},
	{"streams/end-on-cancel", "Watch, Usage and Logs end with their context", func(c *computeRun) {
		spec := c.spec()
		c.create(spec)
		for name, call := range c.streams(spec.ID, nil) {
			ctx, cancel := context.WithCancel(c.Context())
			ended := make(chan error, 1)
			go func() { ended <- call(ctx) }()
			pause := time.NewTimer(100 * time.Millisecond) // into the middle of the call
			<-pause.C
			cancel()
			awaitEnd(c, c.soon(), ended, name)
		}
	}},
	{"usage/grows", "the CPU time of an instance only grows", func(c *computeRun) {
		c.needsCapability(sdk.CapUsage)
		checkUsage(c)
	}},
	{"streams/callback-error", "an error of a callback ends the call, which returns it", func(c *computeRun) {
		spec := c.spec()
		c.create(spec)
		enough := errors.New("enough")
		for name, call := range c.streams(spec.ID, enough) {
			if err := within(c, c.patience(), name+" with a callback that fails", call); !errors.Is(err, enough) {
				c.Errorf("%s returned %v, want the callback's error", name, err)
			}
		}
	}},
}

// streams are the calls that go on until their context ends, for an instance that is there; err is what their
// callbacks return. Logs and Usage only if the driver declares them; Logs only with Talks, for a stream without a
// line calls nobody back.
func (c *computeRun) streams(id string, err error) map[string]func(context.Context) error {
	c.Helper()
	calls := map[string]func(context.Context) error{
		"Watch": func(ctx context.Context) error { return c.Driver.Watch(ctx, func(sdk.Instance) error { return err }) },
	}
	declared := describe(c.Context(), c, c.Driver).Capabilities
	if slices.Contains(declared, sdk.CapUsage) {
		calls["Usage"] = func(ctx context.Context) error {
			return c.Driver.Usage(ctx, 100*time.Millisecond, func([]sdk.Usage) error { return err })
		}
	}
	if slices.Contains(declared, sdk.CapLogs) && err == nil {
		calls["Logs"] = func(ctx context.Context) error {
			return c.Driver.Logs(ctx, id, sdk.LogOptions{Follow: true}, func(sdk.LogLine) error { return nil })
		}
	}
	return calls
}

// watching collects the events of one Watch.
type watching struct {
	c      *computeRun
	cancel context.CancelFunc
	ended  chan error
	news   chan struct{}

	mu     sync.Mutex
	events []sdk.Instance
}

func (c *computeRun) watch() *watching {
	ctx, cancel := context.WithCancel(c.Context())
	w := &watching{c: c, cancel: cancel, ended: make(chan error, 1), news: make(chan struct{}, 1)}
	go func() {
		w.ended <- c.Driver.Watch(ctx, func(i sdk.Instance) error {
			w.mu.Lock()
			w.events = append(w.events, i)
			w.mu.Unlock()
			select {
			case w.news <- struct{}{}:
			default:
			}
			return nil
		})
	}()
	c.atEnd(cancel)
	return w
}

func (w *watching) stop() {
	w.c.Helper()
	w.cancel()
	awaitEnd(w.c, w.c.soon(), w.ended, "Watch")
}

// await waits for an event.
func (w *watching) await(id string, state sdk.InstanceState, limit time.Duration) sdk.Instance {
	w.c.Helper()
	deadline := time.After(limit)
	for {
		w.mu.Lock()
		for _, i := range w.events {
			if i.ID == id && i.State == state {
				w.mu.Unlock()
				return i
			}
		}
		w.mu.Unlock()
		select {
		case <-w.news:
		case err := <-w.ended:
			w.c.Fatalf("Watch ended by itself: %v", err)
		case <-deadline:
			w.mu.Lock()
			n := len(w.events)
			w.mu.Unlock()
			w.c.Fatalf("Watch did not report %s as %s within %s; it reported %d events", id, state, limit, n)
		}
	}
}

// has reports whether there was any event of an instance.
func (w *watching) has(id string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.ContainsFunc(w.events, func(i sdk.Instance) bool { return i.ID == id })
}

// was reports whether an event said that an instance is in a state.
func (w *watching) was(id string, state sdk.InstanceState) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.ContainsFunc(w.events, func(i sdk.Instance) bool { return i.ID == id && i.State == state })
}

func checkUsage(c *computeRun) {
	spec := c.spec()
	c.create(spec)
	ctx, cancel := context.WithTimeout(c.Context(), c.patience())
	defer cancel()
	var samples []sdk.Usage
	err := c.Driver.Usage(ctx, 100*time.Millisecond, func(list []sdk.Usage) error {
		for _, u := range list {
			if u.ID == spec.ID {
				samples = append(samples, u)
			}
		}
		if len(samples) >= 3 {
			cancel()
		}
		return nil
	})
	if len(samples) < 3 {
		c.Fatalf("Usage gave %d samples of the instance within %s: %v", len(samples), c.patience(), err)
	}
	for n := 1; n < len(samples); n++ {
		before, after := samples[n-1], samples[n]
		if after.CPUNanos < before.CPUNanos || after.At.Before(before.At) || after.Memory < 0 {
			c.Errorf("usage went from %+v to %+v", before, after)
		}
	}
}
