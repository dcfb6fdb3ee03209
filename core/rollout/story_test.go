package rollout_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/rollout"
)

// deployed is a world with revision 1 in service, three instances, no rollout in progress.
func deployed(t *testing.T, spec *core.Spec) *world {
	t.Helper()
	w := newWorld()
	w.specs[1] = spec
	must(t, w.apply(1, 3))
	if !w.settle(2 * time.Hour) {
		t.Fatal("revision 1 does not come up")
	}
	if w.service.Active != 1 || w.rollout().Phase != core.RolloutSucceeded {
		t.Fatalf("active %d, rollout %s: %s", w.service.Active, w.rollout().Phase, w.last.Waiting)
	}
	return w
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// until lets everything act until the newest rollout is in the phase.
func until(t *testing.T, w *world, phase core.RolloutPhase) {
	t.Helper()
	for range 300 {
		if w.rollout().Phase == phase {
			return
		}
		d := w.plan(1 << 30)
		if w.rollout().Phase == phase {
			return
		}
		if !w.behave() && d.Empty() {
			if d.Wake.IsZero() {
				break
			}
			w.now = d.Wake
		}
	}
	t.Fatalf("rollout is %s and not %s: %s", w.rollout().Phase, phase, w.last.Waiting)
}

func wantPools(t *testing.T, w *world, want string) {
	t.Helper()
	if got := w.pools("web"); got != want {
		t.Fatalf("pools %s, want %s (%s: %s)", got, want, w.rollout().Phase, w.last.Waiting)
	}
}

// wantEnd lets everything come to rest, and wants count instances and nothing else.
func wantEnd(t *testing.T, w *world, active, count int) {
	t.Helper()
	if !w.settle(2 * time.Hour) {
		t.Fatalf("does not come to rest: %s", w.last.Waiting)
	}
	if w.service.Active != active || w.service.Revision != active || w.service.Count != count || len(w.live(active)) != count || len(w.instances) != count {
		t.Fatalf("service %+v with %d instances, %d of them of revision %d, want %d; %s",
			w.service, len(w.instances), len(w.live(active)), active, count, w.last.Waiting)
	}
}

func TestBlueGreenFromBeginningToEnd(t *testing.T) {
	w := deployed(t, specOf("web"))
	wantPools(t, w, "1:100[01 02 03]")
	w.specs[2] = specOf("web")
	w.specs[2].Rollout.Smoke = []core.SmokeCheck{{Route: "web"}}
	must(t, w.apply(2, 3))

	until(t, w, core.RolloutVerifying)
	wantPools(t, w, "1:100[01 02 03]")
	for w.pools("web") == "1:100[01 02 03]" {
		w.behave()
		w.plan(99)
	}
	wantPools(t, w, "1:100[01 02 03] 2:0p[04 05 06]")

	until(t, w, core.RolloutSwitching)
	wantPools(t, w, "1:0[01 02 03] 2:100[04 05 06]")
	if w.service.Active != 2 || !w.rollout().SwitchedAt.Equal(w.now) || !w.rollout().ConfirmedAt.IsZero() {
		t.Errorf("active %d, rollout %+v", w.service.Active, w.rollout())
	}
	until(t, w, core.RolloutBaking)
	confirmed := w.rollout().ConfirmedAt
	until(t, w, core.RolloutRetiring)
	if w.now.Sub(confirmed) != 30*time.Second || w.service.Previous != 1 || !w.service.KeepUntil.Equal(w.now.Add(time.Hour)) {
		t.Errorf("baked for %s, previous %d kept until %s", w.now.Sub(confirmed), w.service.Previous, w.service.KeepUntil)
	}
	wantPools(t, w, "1:0[01 02 03] 2:100[04 05 06]")
	wantEnd(t, w, 2, 3)
	wantPools(t, w, "2:100[04 05 06]")
	if r := w.rollout(); r.Phase != core.RolloutSucceeded || w.service.Previous != 0 || !w.service.KeepUntil.IsZero() {
		t.Errorf("%s, previous %d", r.Phase, w.service.Previous)
	}
	var phases []string
	for _, h := range w.rollout().History {
		phases = append(phases, h.Phase.String())
	}
	if want := []string{"provisioning", "verifying", "switching", "baking", "retiring", "succeeded"}; !slices.Equal(phases, want) {
		t.Errorf("history %q, want %q", phases, want)
	}
}

func TestServiceWithoutRoutesSwitchesAtOnce(t *testing.T) {
	w := deployed(t, specOf())
	w.specs[2] = specOf()
	must(t, w.apply(2, 3))
	until(t, w, core.RolloutBaking)
	if r := w.rollout(); r.SwitchedAt != r.ConfirmedAt {
		t.Errorf("switched at %s, confirmed at %s", r.SwitchedAt, r.ConfirmedAt)
	}
	wantEnd(t, w, 2, 3)
}

func TestGreenThatNeverBecomesHealthyFailsAtTheDeadline(t *testing.T) {
	w := deployed(t, specOf("web"))
	w.specs[2], w.bad[2] = specOf("web"), true
	must(t, w.apply(2, 5))
	until(t, w, core.RolloutVerifying)
	w.healthy(w.live(2)[0], false)
	w.plan(99)
	if want := "0 of 5 instances of revision 2 are healthy; web-0004 on n1: GET /healthz 503"; w.last.Waiting != want {
		t.Errorf("waiting %q, want %q", w.last.Waiting, want)
	}
	until(t, w, core.RolloutFailed)
	r := w.rollout()
	if want := "0 of 5 instances became healthy in 10m0s; web-0004 on n1: GET /healthz 503"; r.Failure == nil || r.Failure.Message != want {
		t.Errorf("failure %+v, want %q", r.Failure, want)
	}
	wantEnd(t, w, 1, 3)
	wantPools(t, w, "1:100[01 02 03]")
}

func TestPermanentFailureEndsARolloutAtOnce(t *testing.T) {
	w := deployed(t, specOf("web"))
	w.specs[2] = specOf("web")
	must(t, w.apply(2, 3))
	w.plan(99)
	id := w.live(2)[1]
	w.report(id, func(s *core.InstanceStatus) {
		s.Phase, s.Failure = core.InstanceFailed, &core.Failure{Message: "no such command", Logs: []string{"sh: web: not found"}, Permanent: true}
	})
	w.plan(99)
	if r := w.rollout(); r.Phase != core.RolloutFailed || r.Failure.Message != id+" on n2: no such command" || len(r.Failure.Logs) != 1 {
		t.Errorf("%s: %+v", r.Phase, r.Failure)
	}
	wantEnd(t, w, 1, 3)
}

func TestFirstDeploymentThatFailsLeavesNothing(t *testing.T) {
	w := newWorld()
	w.specs[1], w.bad[1] = specOf("web"), true
	must(t, w.apply(1, 3))
	if !w.settle(time.Hour) || w.rollout().Phase != core.RolloutFailed || len(w.instances) != 0 || w.service.Revision != 0 {
		t.Fatalf("%s with %d instances, revision %d", w.rollout().Phase, len(w.instances), w.service.Revision)
	}
	w.bad[1] = false
	must(t, w.apply(1, 3))
	wantEnd(t, w, 1, 3)
}

func TestFailingGreenIsReplacedWithBackoff(t *testing.T) {
	w := deployed(t, specOf("web"))
	w.specs[2], w.bad[2] = specOf("web"), true
	must(t, w.apply(2, 3))
	w.plan(99)
	var delays []time.Duration
	for range 6 {
		for _, id := range w.live(2) {
			w.ends(id, core.InstanceFailed)
		}
		w.plan(99)
		if len(w.live(2)) != 0 {
			t.Fatal("replaced without waiting")
		}
		delays = append(delays, w.last.Wake.Sub(w.now))
		w.behave()
		w.plan(99)
		w.now = w.rollout().Backoff.Until
		w.plan(99)
		if len(w.live(2)) != 3 {
			t.Fatalf("%d made after the back-off", len(w.live(2)))
		}
	}
	for i, d := range delays {
		if d != time.Second<<i {
			t.Fatalf("delays %v", delays)
		}
	}
	if w.service.Backoff != nil {
		t.Error("blue is held back for green's failures")
	}
}

func TestBadInTheBakeGoesBack(t *testing.T) {
	for name, spoil := range map[string]func(w *world){
		"failed":    func(w *world) { w.ends(w.live(2)[1], core.InstanceFailed) },
		"lost":      func(w *world) { w.ends(w.live(2)[1], core.InstanceLost) },
		"unhealthy": func(w *world) { w.healthy(w.live(2)[1], false) },
		"errors": func(w *world) {
			s := w.reported["web@n2/local"]
			s.ErrorRate = map[int]float64{2: 0.5}
			w.reported["web@n2/local"] = s
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := deployed(t, specOf("web"))
			w.specs[2] = specOf("web")
			w.specs[2].Rollout.MaxErrorRate = 0.1
			must(t, w.apply(2, 4))
			until(t, w, core.RolloutBaking)
			spoil(w)
			w.plan(99)
			if w.rollout().Phase != core.RolloutRollingBack {
				t.Fatalf("%s: %s", w.rollout().Phase, w.last.Waiting)
			}
			wantPools(t, w, "1:100[01 02 03]")
			until(t, w, core.RolloutRolledBack)
			if w.rollout().Failure == nil {
				t.Error("no reason is given")
			}
			wantEnd(t, w, 1, 3)
			wantPools(t, w, "1:100[01 02 03]")
		})
	}
}

func TestNoWayBackIntoAnOutage(t *testing.T) {
	w := deployed(t, specOf("web"))
	w.specs[2] = specOf("web")
	must(t, w.apply(2, 3))
	until(t, w, core.RolloutBaking)
	for _, id := range w.live(1)[:2] {
		w.ends(id, core.InstanceFailed)
	}
	w.healthy(w.live(2)[0], false)
	w.plan(99)
	wantPools(t, w, "1:0[03] 2:100[05 06]")
	if want := "goes back to revision 1 when 2 of its instances are healthy, 1 are"; !strings.HasPrefix(w.last.Waiting, want) {
		t.Errorf("waiting %q", w.last.Waiting)
	}
	until(t, w, core.RolloutRollingBack)
	if n := len(w.routes["web"].Pools[0].Endpoints); n < 2 {
		t.Errorf("went back to %d instances", n)
	}
	wantEnd(t, w, 1, 3)
}

func TestAbortInEveryPhase(t *testing.T) {
	for phase, want := range map[core.RolloutPhase]core.RolloutPhase{
		core.RolloutProvisioning: core.RolloutFailed, core.RolloutVerifying: core.RolloutFailed,
		core.RolloutSwitching: core.RolloutRollingBack, core.RolloutBaking: core.RolloutRollingBack,
	} {
		t.Run(phase.String(), func(t *testing.T) {
			w := deployed(t, specOf("web"))
			w.specs[2] = specOf("web")
			must(t, w.apply(2, 3))
			until(t, w, phase)
			c, err := rollout.Abort(w.view(), "abort asked for by ann")
			must(t, err)
			w.change(c)
			w.plan(99)
			if r := w.rollout(); r.Phase != want || r.Failure.Message != "abort asked for by ann" {
				t.Fatalf("%s: %+v", r.Phase, r.Failure)
			}
			wantEnd(t, w, 1, 3)
			wantPools(t, w, "1:100[01 02 03]")
		})
	}
}
