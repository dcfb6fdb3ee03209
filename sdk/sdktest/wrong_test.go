package sdktest_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/instarhq/instar/sdk"
	"github.com/instarhq/instar/sdk/sdktest"
)

// The suites must find what is wrong with the drivers below, by the right check.

type createsTwice struct {
	*sdktest.NoopCompute
	mu    sync.Mutex
	twins []sdk.Instance
}

func (d *createsTwice) Create(ctx context.Context, spec sdk.InstanceSpec) (sdk.Instance, error) {
	i, err := d.NoopCompute.Create(ctx, spec)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.twins = append(d.twins, i)
	return i, err
}

func (d *createsTwice) List(context.Context, string) ([]sdk.Instance, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.twins), nil
}

type forgetsLabels struct{ *sdktest.NoopCompute }

func (d forgetsLabels) Inspect(ctx context.Context, id string) (sdk.Instance, error) {
	i, err := d.NoopCompute.Inspect(ctx, id)
	i.Service, i.RevisionDigest = "", ""
	return i, err
}

type blocksOnCancel struct{ *sdktest.NoopCompute }

func (d blocksOnCancel) Watch(_ context.Context, event func(sdk.Instance) error) error {
	return d.NoopCompute.Watch(context.Background(), event)
}

type resurrects struct{ *sdktest.NoopCompute }

func (d resurrects) Create(ctx context.Context, spec sdk.InstanceSpec) (sdk.Instance, error) {
	i, err := d.NoopCompute.Create(ctx, spec)
	if sdk.CodeOf(err) == sdk.CodeConflict && strings.Contains(err.Error(), "destroyed") {
		return sdk.Instance{ID: spec.ID, State: sdk.StateRunning}, nil
	}
	return i, err
}

type watchesLate struct{ *sdktest.NoopCompute }

func (d watchesLate) Watch(ctx context.Context, event func(sdk.Instance) error) error {
	known := map[string]bool{}
	for _, i := range must(d.List(ctx, "c1")) {
		known[i.ID] = true
	}
	return d.NoopCompute.Watch(ctx, func(i sdk.Instance) error {
		if known[i.ID] {
			return nil // what was there before is left out
		}
		return event(i)
	})
}

func must[V any](v V, err error) V {
	if err != nil {
		panic(err)
	}
	return v
}

type panicsInList struct{ *sdktest.NoopCompute }

func (panicsInList) List(context.Context, string) ([]sdk.Instance, error) { panic("no such luck") }

func TestWrongComputeDrivers(t *testing.T) {
	noop := func() *sdktest.NoopCompute { return sdktest.NewNoopCompute(nil) }
	for name, wrong := range map[string]struct {
		driver func() sdk.Compute
		check  string
		detail string
	}{
		"creates twice":    {func() sdk.Compute { return &createsTwice{NoopCompute: noop()} }, "create/same-id-once", "4 times"},
		"forgets labels":   {func() sdk.Compute { return forgetsLabels{noop()} }, "inspect/labels", "labels are"},
		"blocks on cancel": {func() sdk.Compute { return blocksOnCancel{noop()} }, "streams/end-on-cancel", "Watch did not return"},
		"resurrects":       {func() sdk.Compute { return resurrects{noop()} }, "create/destroyed-id", "conflict"},
		"watches late":     {func() sdk.Compute { return watchesLate{noop()} }, "watch/present-state", "did not report"},
		"panics":           {func() sdk.Compute { return panicsInList{noop()} }, "create/same-id-once", "panic: no such luck"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			checks := sdktest.ComputeChecks(func(t sdktest.T) sdktest.ComputeFixture {
				req := request(t)
				return sdktest.ComputeFixture{
					Driver: configured(t, wrong.driver(), req), Configure: req, Artifact: sdk.Artifact{Source: "demo"},
				}
			})
			mustFail(t, checks, wrong.check, wrong.detail)
		})
	}
}

type acceptsOlder struct{ *sdktest.NoopTraffic }

func (d acceptsOlder) Apply(ctx context.Context, r sdk.Route) error {
	o, err := d.Observe(ctx, r.ID)
	if err == nil && r.Generation < o.Generation {
		return nil // says yes, does nothing
	}
	return d.NoopTraffic.Apply(ctx, r)
}

type forgetsRemovals struct{ *sdktest.NoopTraffic }

func (d forgetsRemovals) Remove(ctx context.Context, route string, _ uint64, drain time.Duration) error {
	return d.NoopTraffic.Remove(ctx, route, 0, drain)
}

func TestWrongTrafficDrivers(t *testing.T) {
	for name, wrong := range map[string]struct {
		driver func() sdk.Traffic
		check  string
		detail string
	}{
		"accepts older generation": {
			func() sdk.Traffic { return acceptsOlder{sdktest.NewNoopTraffic(nil)} },
			"apply/older-generation", "conflict",
		},
		"forgets removals": {
			func() sdk.Traffic { return forgetsRemovals{sdktest.NewNoopTraffic(nil)} },
			"remove/idempotent", "older than",
		},
		"cuts requests in flight": {
			wrongPlane(func(p *plane) { p.cutInFlight = true }),
			"switch/in-flight", "want 200 from revision 1",
		},
		"passes the preview header on": {
			wrongPlane(func(p *plane) { p.forwardHeader = true }),
			"preview/header", "passed on",
		},
		"ignores weights": {
			wrongPlane(func(p *plane) { p.ignoreWeights = true }),
			"switch/weights", "weight 0",
		},
		"switches late": {
			wrongPlane(func(p *plane) { p.stale = true }),
			"switch/under-load", "failed between generations",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			checks := sdktest.TrafficChecks(func(t sdktest.T) sdktest.TrafficFixture {
				req := request(t)
				return sdktest.TrafficFixture{Driver: configured(t, wrong.driver(), req), Configure: req, DataPlane: true}
			})
			mustFail(t, checks, wrong.check, wrong.detail)
		})
	}
}

func wrongPlane(spoil func(*plane)) func() sdk.Traffic {
	return func() sdk.Traffic {
		p := newPlane()
		spoil(p)
		return p
	}
}

// mustFail runs the one check that has to fail, and looks for a part of the reason.
func mustFail(t *testing.T, checks []sdktest.Check, name, detail string) {
	t.Helper()
	n := slices.IndexFunc(checks, func(c sdktest.Check) bool { return c.Name == name })
	if n < 0 {
		t.Fatalf("there is no check %q", name)
	}
	r := sdktest.Record(t.Context(), checks[n], time.Minute)
	if r.Status != sdktest.Failed || !strings.Contains(r.Detail, detail) {
		t.Errorf("check %q: %s, %q; want it to fail with %q", name, r.Status, r.Detail, detail)
	}
}

func TestTrafficSuiteOnARealDataPlane(t *testing.T) {
	sdktest.Traffic(t, func(t sdktest.T) sdktest.TrafficFixture {
		req := request(t)
		return sdktest.TrafficFixture{
			Driver: configured(t, sdktest.ServeTraffic(t, newPlane()), req), Configure: req, DataPlane: true,
		}
	})
}

func TestRecordSkipsAndCleansUp(t *testing.T) {
	var cleaned bool
	r := sdktest.Record(t.Context(), sdktest.Check{Name: "ends", Run: func(t sdktest.T) {
		t.Cleanup(func() { cleaned = true })
		<-t.Context().Done()
		t.Skipf("out of time")
	}}, 10*time.Millisecond)
	if r.Status != sdktest.Skipped || r.Detail != "out of time" || !cleaned {
		t.Errorf("got %+v, cleaned up %v", r, cleaned)
	}
}
