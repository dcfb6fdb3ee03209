package sdktest

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"strings"
	"time"

	"github.com/instarhq/instar/sdk"
)

var computeLimits = []computeCheck{
	{"limits/ids", "any id is taken as it is, or refused with InvalidConfig and nothing left", func(c *computeRun) {
		long := c.spec()
		long.ID = (newID("conformance-with-a-long-name-") + strings.Repeat("x", 63))[:63] // as the daemon makes them
		c.atEnd(func() { c.destroy(long.ID) })
		c.create(long)
		c.running(long.ID)
		for _, id := range []string{
			".", "..", "../outside", "a/b", `a\b`, "-rf", " ", "a\nb", "żółw", "A" + newID(""), "${instance.id}", strings.Repeat("x", 1000),
		} {
			spec := c.spec()
			spec.ID = id
			c.wholeOrRefused(spec, "id "+clip(id))
		}
	}},
	{"limits/env", "an environment of any size is taken as a whole, or refused with InvalidConfig and nothing left", func(c *computeRun) {
		line := strings.Repeat("x", 1023)
		for _, kib := range []int{100, 1024} {
			spec := c.spec()
			if c.Shows != nil {
				spec.Config = c.Shows
			}
			lines := make([]string, kib)
			for n := range lines {
				lines[n] = line
			}
			spec.Env = map[string]string{"CONFORMANCE": strings.Join(lines, "\n")}
			if made := c.wholeOrRefused(spec, "a large environment"); !made {
				continue
			}
			if c.Shows != nil && c.declares(sdk.CapLogs) {
				c.shows(spec.ID, lines)
			}
			c.destroy(spec.ID)
		}
	}},
	{"limits/empty", "empty arguments are refused or do nothing; they are no internal error", func(c *computeRun) {
		calls := map[string]func(context.Context) error{
			"Create": func(ctx context.Context) error { _, err := c.Driver.Create(ctx, sdk.InstanceSpec{}); return err },
			"Create without an id": func(ctx context.Context) error {
				spec := c.spec()
				spec.ID = ""
				_, err := c.Driver.Create(ctx, spec)
				return err
			},
			"Inspect": func(ctx context.Context) error { _, err := c.Driver.Inspect(ctx, ""); return err },
			"Resolve": func(ctx context.Context) error {
				a, err := c.Driver.Resolve(ctx, sdk.Artifact{})
				if err == nil && a == (sdk.Artifact{}) {
					err = sdk.NotFound("there is nothing to pin, and the driver can do without")
				}
				return err
			},
		}
		for what, call := range calls {
			err := within(c, c.patience(), what, calm(call))
			if code := sdk.CodeOf(err); code != sdk.CodeInvalidConfig && code != sdk.CodeNotFound {
				c.Errorf("%s with nothing given: %v (code %q), want code %q or %q", what, err, code, sdk.CodeInvalidConfig, sdk.CodeNotFound)
			}
		}
		enough := errors.New("enough")
		calls = map[string]func(context.Context) error{
			"Destroy": func(ctx context.Context) error { return c.Driver.Destroy(ctx, "", 0) },
			"List":    func(ctx context.Context) error { _, err := c.Driver.List(ctx, ""); return err },
		}
		if c.declares(sdk.CapUsage) {
			calls["Usage"] = func(ctx context.Context) error {
				err := c.Driver.Usage(ctx, 0, func([]sdk.Usage) error { return enough })
				if errors.Is(err, enough) {
					return nil
				}
				return err
			}
		}
		for what, call := range calls {
			err := within(c, c.patience(), what, calm(call))
			if err != nil && sdk.CodeOf(err) != sdk.CodeInvalidConfig {
				c.Errorf("%s with nothing given: %v (code %q), want no error or code %q", what, err, sdk.CodeOf(err), sdk.CodeInvalidConfig)
			}
		}
		c.nothingHidden()
	}},
	{"leaks/process", "what the driver's process holds does not grow with the instances that came and went", func(c *computeRun) {
		if c.Footprint == nil {
			c.Skipf("not run: the harness gives no Footprint of the driver's process")
		}
		c.comeAndGo(3)
		before := c.Footprint(c)
		c.comeAndGo(8)
		var after int
		eventually(c, c.patience(), "files, children and threads of the driver's process are as many as before", func() bool {
			after = c.Footprint(c)
			return after <= before+4 // threads of a runtime come and go
		})
	}},
	{"leaks/state-directory", "an instance that came and went leaves at most its tombstone in the state directory", func(c *computeRun) {
		if c.Configure.StateDir == "" {
			c.Skipf("not run: the fixture has no state directory")
		}
		rounds := c.rounds()
		c.comeAndGo(1)
		before := countFiles(c, c.Configure.StateDir)
		c.comeAndGo(rounds)
		var left int
		tidy := func() bool { // a driver may be writing just now
			left = countFiles(c, c.Configure.StateDir) - before
			return left <= rounds
		}
		for deadline := time.Now().Add(c.patience()); !tidy() && time.Now().Before(deadline); {
			pause := time.NewTimer(c.soon() / 20)
			<-pause.C
		}
		if left > rounds {
			c.Errorf("%d instances that came and went left %d files and directories", rounds, left)
		}
	}},
}

// wholeOrRefused wants Create to make what was asked for, or to refuse it and leave nothing.
func (c *computeRun) wholeOrRefused(spec sdk.InstanceSpec, what string) (made bool) {
	c.Helper()
	ctx, cancel := context.WithTimeout(c.Context(), c.patience())
	defer cancel()
	i, err := c.Driver.Create(ctx, spec)
	if err != nil {
		wantCode(c, err, sdk.CodeInvalidConfig, "Create with %s", what)
		_, err = c.Driver.Inspect(ctx, spec.ID)
		if code := sdk.CodeOf(err); code != sdk.CodeNotFound && code != sdk.CodeInvalidConfig {
			c.Errorf("Inspect after a refused Create with %s: %v (code %q)", what, err, code)
		}
		c.nothingHidden()
		return false
	}
	c.atEnd(func() { c.destroy(spec.ID) })
	if i.ID != spec.ID {
		c.Errorf("Create with %s made instance %q", what, clip(i.ID))
	}
	if found, ok := c.listed(spec.ID); !ok || found.State != sdk.StateRunning {
		c.Errorf("after Create with %s List has it: %v, as %q", what, ok, found.State)
	}
	return true
}

// comeAndGo makes and destroys instances, one after the other, each with a watcher.
func (c *computeRun) comeAndGo(times int) {
	c.Helper()
	for range times {
		w := c.watch()
		spec := c.spec()
		c.create(spec)
		w.await(spec.ID, sdk.StateRunning, c.patience())
		c.destroy(spec.ID)
		w.stop()
	}
}

// declares reports whether the driver declares a capability.
func (c *computeRun) declares(capability sdk.Capability) bool {
	c.Helper()
	for _, declared := range describe(c.Context(), c, c.Driver).Capabilities {
		if declared == capability {
			return true
		}
	}
	return false
}

// countFiles counts what is below a directory.
func countFiles(t T, dir string) int {
	t.Helper()
	n := 0
	err := filepath.WalkDir(dir, func(_ string, _ fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // gone meanwhile
		}
		n++
		return err
	})
	if err != nil {
		t.Fatalf("reading the state directory: %v", err)
	}
	return n
}

// calm turns a panic of a driver in this process into the error that a caller over gRPC would get.
func calm(call func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) (err error) {
		defer func() {
			if cause := recover(); cause != nil {
				err = &sdk.Error{Code: sdk.CodeInternal, Message: "the driver panicked: " + plain(cause)}
			}
		}()
		return call(ctx)
	}
}
