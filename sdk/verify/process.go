package verify

import (
	"context"
	"fmt"
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
	target, err := v.makeTarget()
	if err != nil {
		t.Fatalf("%v", err)
	}
	return target
}

func (v *verifier) makeTarget() (*target, error) {
	dir, err := os.MkdirTemp(v.dir, "")
	if err == nil {
		err = os.Mkdir(filepath.Join(dir, "state"), 0o700)
	}
	if err != nil {
		return nil, fmt.Errorf("directory of the target: %w", err)
	}
	return &target{dir, sdk.ConfigureRequest{
		Target: "verify", Node: "verify", Cluster: "verify-" + filepath.Base(v.dir) + "-" + filepath.Base(dir), Generation: 2,
		StateDir: filepath.Join(dir, "state"), Config: v.options.Target,
	}}, nil
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
		Path: v.path, Dir: dir, SocketDir: v.sockets, Log: filepath.Join(target.dir, "log"), Env: launch.Environment(hclog.Debug),
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

// processes are those of one target, one after the other.
type processes struct {
	v      *verifier
	target *target
	kind   sdk.Kind
	last   *launch.Process
}

// next kills the process before, as a crash would, and launches another.
func (p *processes) next(t sdktest.T) sdk.Driver {
	t.Helper()
	if p.last != nil {
		now, cancel := context.WithCancel(context.Background())
		cancel() // no grace: SIGKILL follows SIGTERM at once
		if err := p.last.Stop(now); err != nil {
			t.Fatalf("killing the driver: %v", err)
		}
	}
	launched := p.v.launch(t, p.target)
	p.last = launched.Process
	return launched.driver(t, p.kind)
}

// launched gives the driver of a fresh process, opened one that is configured.
func launched[D sdk.Driver](p *processes) func(sdktest.T) D {
	return func(t sdktest.T) D {
		t.Helper()
		return p.next(t).(D)
	}
}

func opened[D sdk.Driver](p *processes) func(sdktest.T) D {
	return func(t sdktest.T) D {
		t.Helper()
		d := p.next(t)
		if err := d.Configure(t.Context(), p.target.request); err != nil {
			t.Fatalf("Configure: %v", err)
		}
		return d.(D)
	}
}
