package verify

import (
	"context"
	"os"
	"path/filepath"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/instarhq/instar/sdk"
	"github.com/instarhq/instar/sdk/launch"
	"github.com/instarhq/instar/sdk/sdktest"
)

// stopGrace is what a driver gets from SIGTERM to SIGKILL.
const stopGrace = 30 * time.Second

// target is one target's directory, for one process after another.
type target struct {
	dir     string
	request sdk.ConfigureRequest
}

// newTarget makes a target that no process has worked on. The cluster's generation begins with 2, so that
// there is an older one.
func (v *verifier) newTarget(t sdktest.T) *target {
	t.Helper()
	dir, err := os.MkdirTemp(v.dir, "")
	if err == nil {
		err = os.Mkdir(filepath.Join(dir, "state"), 0o700)
	}
	if err != nil {
		t.Fatalf("directory of the target: %v", err)
	}
	return &target{dir, sdk.ConfigureRequest{
		Target: "verify", Node: "verify", Cluster: "verify-" + filepath.Base(v.dir) + "-" + filepath.Base(dir), Generation: 2,
		StateDir: filepath.Join(dir, "state"), Config: v.options.Target,
	}}
}

// process is a launched driver.
type process struct{ *launch.Process }

// launch starts the binary for a target; the process ends with the check.
func (v *verifier) launch(t sdktest.T, target *target) process {
	t.Helper()
	dir, err := os.MkdirTemp(target.dir, "l")
	if err != nil {
		t.Fatalf("directory of the launch: %v", err)
	}
	p, err := launch.Start(t.Context(), launch.Options{
		Path: v.path, Dir: dir, Log: filepath.Join(target.dir, "log"), Env: launch.Environment(hclog.Debug),
		Timeout: v.options.StartTimeout,
	})
	if err != nil {
		t.Fatalf("%v", err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), stopGrace)
		defer cancel()
		if err := p.Stop(ctx); err != nil {
			t.Errorf("ending the driver: %v", err)
		}
	})
	return process{p}
}

// driver is the client of the process.
func (p process) driver(t sdktest.T, kind sdk.Kind) sdk.Driver {
	t.Helper()
	d, err := p.Driver(kind)
	if err != nil {
		t.Fatalf("%v", err)
	}
	return d
}

// opener returns what gives a configured driver on one target. Called again, it kills the process before,
// as a crash would, and launches another.
func opener[D sdk.Driver](v *verifier, target *target, kind sdk.Kind) func(sdktest.T) D {
	var last *launch.Process
	return func(t sdktest.T) D {
		t.Helper()
		if last != nil {
			now, cancel := context.WithCancel(context.Background())
			cancel() // no grace: SIGKILL follows SIGTERM at once
			if err := last.Stop(now); err != nil {
				t.Fatalf("killing the driver: %v", err)
			}
		}
		p := v.launch(t, target)
		last = p.Process
		d := p.driver(t, kind)
		if err := d.Configure(t.Context(), target.request); err != nil {
			t.Fatalf("Configure: %v", err)
		}
		return d.(D)
	}
}
