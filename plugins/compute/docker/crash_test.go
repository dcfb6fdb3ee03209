package docker_test

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/instarhq/instar/sdk"
)

// TestCrashInCreate ends the driver's process between all steps of Create. Nothing that was not started may be
// left by then that the next process has configured itself, and the repeated Create makes exactly one instance.
func TestCrashInCreate(t *testing.T) {
	t.Parallel()
	needEngine(t)
	for _, step := range []string{"mounted", "created", "prepared", "started"} {
		t.Run(step, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, engine, "")
			spec := r.spec(waits)
			spec.Mounts = []sdk.Mount{{Path: "etc/site.conf", Data: []byte("x")}}
			r.shut()
			crashed(t, driverJob{Configure: r.req, Create: []sdk.InstanceSpec{spec}, CrashAt: step})
			r.open()
			if step != "started" {
				// What nobody comes back to is removed by itself.
				eventually(t, "nothing is left of it", func() bool {
					entries, err := os.ReadDir(filepath.Join(r.req.StateDir, "instances"))
					return err == nil && len(entries) == 0 && len(r.containers()) == 0
				})
			}
			first := r.create(spec)
			if first.State != sdk.StateRunning {
				t.Errorf("state is %s", first.State)
			}
			if again := r.create(spec); again.Fingerprint != first.Fingerprint || !again.Created.Equal(first.Created) {
				t.Errorf("a repeated Create gives %+v, want %+v", again, first)
			}
			if names := r.containers(); len(names) != 1 {
				t.Errorf("containers are %v, want one", names)
			}
		})
	}
}

// TestCrashAndCreateAtOnce is the same with a Create that does not wait for the new process to tidy up.
func TestCrashAndCreateAtOnce(t *testing.T) {
	t.Parallel()
	needEngine(t)
	for _, step := range []string{"created", "started"} {
		r := newRig(t, engine, "")
		spec := r.spec(waits)
		r.shut()
		crashed(t, driverJob{Configure: r.req, Create: []sdk.InstanceSpec{spec}, CrashAt: step})
		r.open()
		r.create(spec)
		if names := r.containers(); len(names) != 1 {
			t.Errorf("after a crash when %s containers are %v, want one", step, names)
		}
	}
}

func TestCrashInDestroy(t *testing.T) {
	t.Parallel()
	needEngine(t)
	for _, step := range []string{"buried", "stopped", "removed"} {
		t.Run(step, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, engine, "")
			spec := r.spec(waits)
			r.create(spec)
			r.shut()
			crashed(t, driverJob{Configure: r.req, Destroy: []string{spec.ID}, CrashAt: step})
			r.open()
			if _, err := r.driver.Create(t.Context(), spec); sdk.CodeOf(err) != sdk.CodeConflict {
				t.Errorf("Create of an id that was being destroyed: %v, want a conflict", err)
			}
			if err := r.driver.Destroy(t.Context(), spec.ID, 0); err != nil {
				t.Fatalf("Destroy: %v", err)
			}
			entries, err := os.ReadDir(filepath.Join(r.req.StateDir, "instances"))
			if names := r.containers(); err != nil || len(names) != 0 || len(entries) != 0 {
				t.Errorf("containers %v, folders %v, %v; want none", names, entries, err)
			}
		})
	}
}

// TestCancelledCreates ends calls at any moment; whatever they came to, the next one makes it whole.
func TestCancelledCreates(t *testing.T) {
	t.Parallel()
	needEngine(t)
	r := newRig(t, engine, "")
	spec := r.spec(waits)
	for limit := range 8 {
		ctx, cancel := context.WithCancel(t.Context())
		var looks sync.WaitGroup
		looks.Go(func() {
			// Not a clock: as many looks at the engine as the round has.
			for range limit * 3 {
				r.containers()
			}
			cancel()
		})
		_, err := r.driver.Create(ctx, spec)
		looks.Wait()
		if err == nil {
			break
		}
		if ctx.Err() == nil {
			t.Fatalf("Create: %v", err)
		}
	}
	i := r.create(spec)
	if names := r.containers(); i.State != sdk.StateRunning || len(names) != 1 {
		t.Errorf("state is %s, containers are %v; want one that runs", i.State, names)
	}
}
