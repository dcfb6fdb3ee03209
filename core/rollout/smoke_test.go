package rollout_test

import (
	"maps"
	"strings"
	"testing"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/rollout"
)

// twoDrivers is a service whose green waits for the smoke checks of two routes, which targets of two drivers
// carry. Those on n1 have the same name.
func twoDrivers(t *testing.T) *world {
	t.Helper()
	spec := func() *core.Spec {
		s := specOf("web", "tcp")
		s.Routes[1].Driver = "haproxy"
		return s
	}
	w := newWorld()
	w.targets = append(w.targets, rollout.Target{Node: "n1", Driver: "haproxy", Name: "local", Healthy: true})
	w.specs[1], w.specs[2] = spec(), spec()
	w.specs[2].Rollout.Smoke = []core.SmokeCheck{{Route: "web"}, {Route: "tcp"}}
	must(t, w.apply(1, 3))
	until(t, w, core.RolloutSucceeded)
	must(t, w.apply(2, 3))
	until(t, w, core.RolloutVerifying)
	for range 20 {
		for id := range maps.Clone(w.instances) {
			w.step(id)
		}
		for i := range w.targets {
			for name := range w.routes {
				w.applyRoute(&w.targets[i], name)
				w.reportRoute(&w.targets[i], name)
			}
		}
		w.plan(99)
	}
	if !strings.Contains(w.last.Waiting, "smoke checks of revision 2 at n1/local") {
		t.Fatalf("it waits for %q", w.last.Waiting)
	}
	return w
}

// checked writes the outcome of a target's smoke checks; driver empty: as it was before drivers were noted.
func (w *world) checked(node, driver, failure string) {
	r := w.rollout()
	w.seq++
	w.checks[core.CheckID(r.ID(), node, driver, "local")] = core.Check{
		Format: core.Format, Rollout: r.ID(), Service: "web", Node: node, Driver: driver, Target: "local", Passed: 1, Total: 1, Failure: failure, At: w.now,
	}
	w.plan(99)
}

func TestTargetsOfOneNameAreCheckedEach(t *testing.T) {
	w := twoDrivers(t)
	w.checked("n1", "proxy", "")
	w.checked("n2", "proxy", "")
	if r := w.rollout(); r.Phase != core.RolloutVerifying {
		t.Fatalf("%s without a check of haproxy's target", r.Phase)
	}
	w.checked("n1", "haproxy", "")
	if r := w.rollout(); r.Phase < core.RolloutSwitching {
		t.Errorf("%s with all checks passed: %s", r.Phase, w.last.Waiting)
	}

	w = twoDrivers(t)
	w.checked("n1", "proxy", "")
	w.checked("n1", "haproxy", "connection refused")
	if r := w.rollout(); r.Phase != core.RolloutFailed || !strings.Contains(r.Failure.Message, "connection refused") {
		t.Errorf("%s: %+v", r.Phase, r.Failure)
	}
}

// A check from before drivers were noted counts, until there is a newer one.
func TestCheckWithoutADriver(t *testing.T) {
	w := twoDrivers(t)
	w.checked("n1", "", "")
	w.checked("n1", "haproxy", "connection refused")
	if r := w.rollout(); r.Phase != core.RolloutFailed {
		t.Errorf("%s: an older check hides a newer one", r.Phase)
	}
	w = twoDrivers(t)
	w.checked("n1", "", "")
	w.checked("n2", "", "")
	if r := w.rollout(); r.Phase < core.RolloutSwitching || r.Phase == core.RolloutFailed {
		t.Errorf("%s: checks of an older instard do not count: %s", r.Phase, w.last.Waiting)
	}
}
