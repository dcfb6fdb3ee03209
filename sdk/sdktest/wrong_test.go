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

// wrong is a driver that is sound but for one fault, and the name of the check that must find it.
type wrong struct{ fault, check string }

func (w wrong) mustFail(t *testing.T, checks []sdktest.Check) {
	t.Helper()
	n := slices.IndexFunc(checks, func(c sdktest.Check) bool { return c.Name == w.check })
	if n < 0 {
		t.Fatalf("there is no check %q", w.check)
	}
	r := sdktest.Record(t.Context(), checks[n], time.Minute)
	if r.Status != sdktest.Failed {
		t.Errorf("a driver that %s: check %q: %s, %q; want it to fail", w.fault, w.check, r.Status, r.Detail)
	}
	t.Log(r.Detail)
}
