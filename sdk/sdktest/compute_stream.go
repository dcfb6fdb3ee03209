package sdktest

import (
	"context"
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
		w.await(spec.ID, sdk.StateRunning, soon)
		c.destroy(spec.ID)
		w.await(spec.ID, sdk.StateDestroyed, soon)
	}},
	{"watch/exit", "Watch reports an exit within a second", func(c *computeRun) {
		c.needs(c.Exits != nil, "Exits")
		w := c.watch()
		spec := c.spec()
		spec.Config = c.Exits
		c.create(spec)
		i := w.await(spec.ID, sdk.StateExited, patience)
		if i.Exit == nil {
			c.Fatalf("the event has no Exit")
		}
		if late := time.Since(i.Exit.At); !i.Exit.At.IsZero() && late > soon {
			c.Errorf("the exit was reported %s after it happened", late)
		}
	}},
	{"watch/independent", "Watches do not disturb each other", func(c *computeRun) {
		first, second := c.watch(), c.watch()
		first.stop()
		spec := c.spec()
		c.create(spec)
		second.await(spec.ID, sdk.StateRunning, soon)
	}},
	{"streams/end-on-cancel", "Watch, Usage and Logs end with their context", func(c *computeRun) {
		spec := c.spec()
		c.create(spec)
		calls := map[string]func(context.Context) error{
			"Watch": func(ctx context.Context) error {
				return c.Driver.Watch(ctx, func(sdk.Instance) error { return nil })
			},
			"Usage": func(ctx context.Context) error {
				return c.Driver.Usage(ctx, time.Hour, func([]sdk.Usage) error { return nil })
			},
			"Logs": func(ctx context.Context) error {
				return c.Driver.Logs(ctx, spec.ID, sdk.LogOptions{Follow: true}, func(sdk.LogLine) error { return nil })
			},
		}
		for name, call := range calls {
			ctx, cancel := context.WithCancel(c.Context())
			ended := make(chan error, 1)
			go func() { ended <- call(ctx) }()
			pause := time.NewTimer(100 * time.Millisecond) // into the middle of the call
			<-pause.C
			cancel()
			awaitEnd(c, ended, name)
		}
	}},
	{"logs/in-order", "Logs gives the output, oldest first", func(c *computeRun) {
		c.needs(c.Talks != nil, "Talks")
		c.needsCapability(sdk.CapLogs)
		checkLogs(c)
	}},
	{"logs/unknown-id", "Logs of an unknown id is NotFound", func(c *computeRun) {
		c.needsCapability(sdk.CapLogs)
		err := c.Driver.Logs(c.Context(), newID("unknown"), sdk.LogOptions{}, func(sdk.LogLine) error { return nil })
		wantCode(c, err, sdk.CodeNotFound, "Logs of an unknown id")
	}},
	{"logs/follow-ends", "following Logs ends when the instance is destroyed", func(c *computeRun) {
		c.needsCapability(sdk.CapLogs)
		spec := c.spec()
		c.create(spec)
		ended := make(chan error, 1)
		go func() {
			ended <- c.Driver.Logs(c.Context(), spec.ID, sdk.LogOptions{Follow: true}, func(sdk.LogLine) error { return nil })
		}()
		pause := time.NewTimer(100 * time.Millisecond)
		<-pause.C
		c.destroy(spec.ID)
		select {
		case err := <-ended:
			if err != nil {
				c.Errorf("Logs ended with %v, want no error", err)
			}
		case <-time.After(soon):
			c.Errorf("Logs did not end within %s after the instance was destroyed", soon)
		}
	}},
	{"usage/grows", "the CPU time of an instance only grows", func(c *computeRun) {
		c.needsCapability(sdk.CapUsage)
		checkUsage(c)
	}},
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
	awaitEnd(w.c, w.ended, "Watch")
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

func checkLogs(c *computeRun) {
	spec := c.spec()
	spec.Config = c.Talks
	c.create(spec)
	var out, errs []string
	read := func(opts sdk.LogOptions) int {
		out, errs = nil, nil
		n := 0
		err := c.Driver.Logs(c.Context(), spec.ID, opts, func(l sdk.LogLine) error {
			n++
			if l.Stream == "stderr" {
				errs = append(errs, l.Text)
			} else {
				out = append(out, l.Text)
			}
			return nil
		})
		if err != nil {
			c.Fatalf("Logs: %v", err)
		}
		return n
	}
	eventually(c, patience, "six lines of output", func() bool { return read(sdk.LogOptions{}) >= 6 })
	want := []string{"out 1", "out 2", "out 3", "out 4", "out 5"}
	if len(out) != len(want) || len(errs) != 1 || errs[0] != "err 1" {
		c.Fatalf("stdout is %q and stderr %q, want %q and [err 1]", out, errs, want)
	}
	for n := range want {
		if out[n] != want[n] {
			c.Errorf("line %d is %q, want %q", n+1, out[n], want[n])
		}
	}
	if n := read(sdk.LogOptions{Tail: 2}); n != 2 {
		c.Errorf("Tail 2 gives %d lines", n)
	}
}

func checkUsage(c *computeRun) {
	spec := c.spec()
	c.create(spec)
	ctx, cancel := context.WithTimeout(c.Context(), patience)
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
		c.Fatalf("Usage gave %d samples of the instance within %s: %v", len(samples), patience, err)
	}
	for n := 1; n < len(samples); n++ {
		before, after := samples[n-1], samples[n]
		if after.CPUNanos < before.CPUNanos || after.At.Before(before.At) || after.Memory < 0 {
			c.Errorf("usage went from %+v to %+v", before, after)
		}
	}
}
