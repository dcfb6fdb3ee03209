package sdktest

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/instarhq/instar/sdk"
)

var computeLogs = []computeCheck{
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
		case <-time.After(c.soon()):
			c.Errorf("Logs did not end within %s after the instance was destroyed", c.soon())
		}
	}},
	{"logs/after-restart", "a fresh process gives the output that came before it", func(c *computeRun) {
		c.needs(c.Talks != nil, "Talks")
		c.needsCapability(sdk.CapLogs)
		c.needs(c.Reopen != nil, "Reopen")
		spec := c.spec()
		spec.Config = c.Talks
		c.create(spec)
		var before []string
		eventually(c, c.patience(), "six lines of output", func() bool {
			before = c.output(spec.ID, "")
			return len(before) >= 6
		})
		c.reopen()
		if after := c.output(spec.ID, ""); !slices.Equal(slices.Sorted(slices.Values(after)), slices.Sorted(slices.Values(before))) {
			c.Errorf("a fresh process gives the lines %q, want %q", after, before)
		}
	}},
	{"logs/callback-error", "an error of Logs' callback ends the call", func(c *computeRun) {
		c.needs(c.Talks != nil, "Talks")
		c.needsCapability(sdk.CapLogs)
		spec := c.spec()
		spec.Config = c.Talks
		c.create(spec)
		enough := errors.New("enough")
		err := within(c, c.patience(), "Logs with a callback that fails", func(ctx context.Context) error {
			return c.Driver.Logs(ctx, spec.ID, sdk.LogOptions{Follow: true}, func(sdk.LogLine) error { return enough })
		})
		if !errors.Is(err, enough) {
			c.Errorf("Logs returned %v, want the callback's error", err)
		}
	}},
}

// output is what an instance has written to a stream, or to any.
func (c *computeRun) output(id, stream string) []string {
	c.Helper()
	var lines []string
	err := c.Driver.Logs(c.Context(), id, sdk.LogOptions{}, func(l sdk.LogLine) error {
		if stream == "" || l.Stream == stream {
			lines = append(lines, l.Text)
		}
		return nil
	})
	if err != nil {
		c.Fatalf("Logs: %v", err)
	}
	return lines
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
	eventually(c, c.patience(), "six lines of output", func() bool { return read(sdk.LogOptions{}) >= 6 })
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
