package docker_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/instarhq/instar/plugins/compute/docker/dockertest"
	"github.com/instarhq/instar/sdk"
)

// startEngine starts an engine for one test that does things to it.
func startEngine(t *testing.T, options ...string) *dockertest.Engine {
	t.Helper()
	needEngine(t)
	e, err := newEngine(context.Background(), options...)
	if err != nil {
		t.Fatalf("start an engine: %v", err)
	}
	t.Cleanup(func() {
		if err := e.Stop(); err != nil {
			t.Errorf("the engine leaves something behind: %v", err)
		}
	})
	return e
}

// TestEngineDiesAndComesBack kills dockerd as a crash does. Instances and the traffic to them go on; the target
// is unhealthy meanwhile, calls say that the engine is unavailable, and all streams go on afterwards.
func TestEngineDiesAndComesBack(t *testing.T) {
	t.Parallel()
	e := startEngine(t, "--live-restore", "--userland-proxy=false")
	r := newRig(t, e, "")
	health := r.probe()
	eventually(t, "the target is healthy", func() bool { return health().Healthy })
	spec := r.spec(`{"command": ["sh", "-c", "echo $INSTAR_INSTANCE >/tmp/index.html; n=0; httpd -p $INSTAR_PORT_HTTP -h /tmp; trap 'exit 0' TERM; while true; do n=$((n+1)); echo line $n; sleep 0.1; done"]}`)
	spec.Ports = []sdk.Port{{Name: "http"}}
	first := r.create(spec)
	r.answers(first)
	w, lines := r.watch(), r.followed(spec.ID)
	w.saw(t, "the instance", func(i sdk.Instance) bool { return i.ID == spec.ID })

	if err := e.Kill(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the target is unhealthy", func() bool { h := health(); return !h.Healthy && h.Reason != "" })
	if _, err := get(t.Context(), first.Addresses["http"]); err != nil {
		t.Errorf("traffic to an instance while dockerd is away: %v", err)
	}
	_, err := r.driver.List(t.Context(), r.req.Cluster)
	wantCode(t, err, sdk.CodeUnavailable)
	_, err = r.driver.Inspect(t.Context(), spec.ID)
	wantCode(t, err, sdk.CodeUnavailable)
	_, err = r.driver.Create(t.Context(), r.spec(waits))
	wantCode(t, err, sdk.CodeUnavailable)
	_, err = r.driver.Resolve(t.Context(), sdk.Artifact{Source: image})
	wantCode(t, err, sdk.CodeUnavailable)
	wantCode(t, r.driver.Destroy(t.Context(), r.spec(waits).ID, 0), sdk.CodeUnavailable)

	if err := e.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the target is healthy again", func() bool { return health().Healthy })
	if i := r.inspect(spec.ID); i.State != sdk.StateRunning || i.Fingerprint != first.Fingerprint || i.Addresses["http"] != first.Addresses["http"] {
		t.Errorf("after the restart the instance is %+v, it was %+v", i, first)
	}
	r.answers(first)
	after := r.create(r.spec(waits))
	w.saw(t, "an instance that was made afterwards", func(i sdk.Instance) bool { return i.ID == after.ID })
	had := len(lines())
	eventually(t, "the output goes on", func() bool { return len(lines()) > had+5 })
	if err := r.driver.Destroy(t.Context(), spec.ID, 5*time.Second); err != nil {
		t.Fatal(err)
	}
	if all := lines(); len(slices.Compact(slices.Sorted(slices.Values(all)))) != len(all) {
		t.Errorf("lines came twice, in %q", all)
	}
}

// followed follows the output of an instance.
func (r *rig) followed(id string) func() []string {
	var mu sync.Mutex
	var lines []string
	ctx, cancel := context.WithCancel(context.Background())
	r.Cleanup(cancel)
	go func() {
		_ = r.driver.Logs(ctx, id, sdk.LogOptions{Follow: true}, func(l sdk.LogLine) error {
			mu.Lock()
			defer mu.Unlock()
			lines = append(lines, l.Text)
			return nil
		})
	}()
	return func() []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(lines)
	}
}

// TestEngineRestartEndsInstances restarts an engine without live-restore, which ends its containers: the driver
// must say so, and must not start them again.
func TestEngineRestartEndsInstances(t *testing.T) {
	t.Parallel()
	e := startEngine(t)
	r := newRig(t, e, "")
	spec := r.spec(waits)
	spec.Ports = []sdk.Port{{Name: "http"}}
	first := r.create(spec)
	w := r.watch()
	w.saw(t, "the instance", func(i sdk.Instance) bool { return i.ID == spec.ID })
	if err := e.Terminate(); err != nil {
		t.Fatal(err)
	}
	if err := e.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	seen := w.saw(t, "its end", func(i sdk.Instance) bool { return i.ID == spec.ID && i.State == sdk.StateExited })
	if seen.Exit == nil || seen.Fingerprint != first.Fingerprint || seen.Addresses["http"] != first.Addresses["http"] {
		t.Errorf("the end is %+v, the instance was %+v", seen, first)
	}
	eventually(t, "Create returns what there is", func() bool {
		again, err := r.driver.Create(t.Context(), spec)
		return err == nil && again.State == sdk.StateExited
	})
}

// TestEngineHangs stops dockerd in its tracks. No call may hang with it, and what it does when it goes on must
// not make a second instance.
func TestEngineHangs(t *testing.T) {
	t.Parallel()
	e := startEngine(t)
	r := newRig(t, e, "")
	health := r.probe()
	eventually(t, "the target is healthy", func() bool { return health().Healthy })
	w := r.watch()
	spec := r.spec(waits)
	if err := e.Freeze(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	_, err := r.driver.Create(ctx, spec)
	cancel()
	if err == nil {
		t.Error("Create succeeded although the engine hangs")
	}
	eventually(t, "the target is unhealthy", func() bool { return !health().Healthy })
	if err := e.Thaw(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the target is healthy again", func() bool { return health().Healthy })
	first := r.create(spec)
	if again := r.create(spec); again.Fingerprint != first.Fingerprint || len(r.containers()) != 1 {
		t.Errorf("containers are %v, want one", r.containers())
	}
	w.saw(t, "the instance", func(i sdk.Instance) bool { return i.ID == spec.ID && i.State == sdk.StateRunning })
}

// TestEngineComesLater configures a target before there is an engine.
func TestEngineComesLater(t *testing.T) {
	t.Parallel()
	e := startEngine(t)
	if err := e.Terminate(); err != nil {
		t.Fatal(err)
	}
	r := newRig(t, e, "")
	health := r.probe()
	eventually(t, "the target is unhealthy", func() bool { h := health(); return !h.Healthy && h.Reason != "" })
	err := r.driver.Watch(t.Context(), func(sdk.Instance) error { return nil })
	wantCode(t, err, sdk.CodeUnavailable)
	if err := e.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the target is healthy", func() bool { return health().Healthy })
	r.create(r.spec(waits))
}
