package rollout_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/rollout"
)

// rollingWorld has revision 1 in service with count instances, and rolling specs for revisions 1 to 3.
func rollingWorld(t *testing.T, count int, surge, unavailable core.Bound) *world {
	t.Helper()
	w := newWorld()
	for n := 1; n <= 3; n++ {
		w.specs[n] = rollingSpec(surge, unavailable, "web")
	}
	must(t, w.apply(1, count))
	if !w.settle(2*time.Hour) || w.rollout().Rolling != nil || w.rollout().Phase != core.RolloutSucceeded {
		t.Fatalf("revision 1 does not come up as in blue-green: %+v", w.rollout())
	}
	return w
}

// acts lets control and the world act once, and fails the test if fewer than least healthy instances serve.
func acts(t *testing.T, w *world, least int) bool {
	t.Helper()
	d := w.plan(1 << 30)
	serving := 0
	for _, p := range w.routes["web"].Pools {
		for _, e := range p.Endpoints {
			if p.Weight > 0 && w.statuses[e.Instance].Healthy {
				serving++
			}
		}
	}
	if serving < least {
		t.Fatalf("I2: %d instances serve, %d at least: %s (%s, %s)", serving, least, w.pools("web"), w.rollout().Phase, w.last.Waiting)
	}
	return w.behave() || !d.Empty()
}

// steady is acts until the rollout is over, with time going on as control wants.
func steady(t *testing.T, w *world, least int) core.Rollout {
	t.Helper()
	for range 2000 {
		if w.rollout().Phase.Over() {
			return w.rollout()
		}
		if !acts(t, w, least) {
			if w.last.Wake.IsZero() {
				break
			}
			w.now = w.last.Wake
		}
	}
	t.Fatalf("rollout is %s: %s", w.rollout().Phase, w.last.Waiting)
	return core.Rollout{}
}

func phases(r core.Rollout) string {
	var out []string
	for _, h := range r.History {
		out = append(out, h.Phase.String())
	}
	return strings.Join(out, " ")
}

func TestRollingFromBeginningToEnd(t *testing.T) {
	w := rollingWorld(t, 3, "1", "0")
	w.specs[2].Rollout.Smoke = []core.SmokeCheck{{Route: "web"}}
	must(t, w.apply(2, 3))
	var seen []string
	var gone int
	for range 300 {
		acts(t, w, 3)
		if now := w.pools("web"); len(seen) == 0 || seen[len(seen)-1] != now {
			seen = append(seen, now)
		}
		if len(w.live(1)) < 3-gone {
			gone++
			if w.last.Verb != "rollout.switch" && w.last.Verb != "rollout.step" {
				t.Errorf("%d are replaced by %q (%s)", gone, w.last.Verb, w.last.Reason)
			}
		}
		if w.rollout().Phase == core.RolloutBaking {
			break
		}
	}
	if want := []string{
		"1:100[01 02 03]", "1:100[01 02 03] 2:0p[04]", "1:2[01 02] 2:1[04]", "1:1[01] 2:2[04 05]", "2:100[04 05 06]",
	}; !slices.Equal(seen, want) {
		t.Errorf("pools %q\n want %q", seen, want)
	}
	confirmed := w.rollout().ConfirmedAt
	if r := steady(t, w, 3); phases(r) != "provisioning verifying switching baking succeeded" || r.Rolling.Made != 3 || r.Rolling.Joined != 3 || r.EndedAt.Sub(confirmed) != 30*time.Second {
		t.Errorf("%s, %+v, baked for %s", phases(r), r.Rolling, r.EndedAt.Sub(confirmed))
	}
	wantEnd(t, w, 2, 3)
	if w.service.Previous != 0 || w.created != 6 {
		t.Errorf("previous %d, %d made", w.service.Previous, w.created)
	}
}

func TestRollingWithoutASurgeMakesWayFirst(t *testing.T) {
	w := rollingWorld(t, 4, "0", "2")
	must(t, w.apply(2, 4))
	w.plan(99)
	if len(w.live(1)) != 2 || len(w.live(2)) != 0 {
		t.Fatalf("%d old and %d new", len(w.live(1)), len(w.live(2)))
	}
	if r := steady(t, w, 2); r.Phase != core.RolloutSucceeded {
		t.Errorf("%s", r.Phase)
	}
	wantEnd(t, w, 2, 4)
}

func TestNoStepBeforeEveryTargetHasConfirmed(t *testing.T) {
	w := rollingWorld(t, 6, "2", "0")
	must(t, w.apply(2, 6))
	until(t, w, core.RolloutSwitching)
	for len(w.live(2)) < 4 {
		acts(t, w, 6)
	}
	fresh := w.live(2)[2:]
	for _, id := range fresh {
		w.runs(id)
	}
	w.healthy(fresh[0], true)
	w.plan(99)
	if len(w.live(1)) != 3 {
		t.Fatalf("%d old ones are left: %s", len(w.live(1)), w.pools("web"))
	}
	w.applyRoute(&w.targets[0], "web")
	w.reportRoute(&w.targets[0], "web")
	w.healthy(fresh[1], true)
	w.plan(99)
	if len(w.live(1)) != 3 {
		t.Fatalf("%d old ones are left, and n2 has not confirmed that the one before is out", len(w.live(1)))
	}
	wantPools(t, w, "1:3[01 02 03] 2:4[07 08 09 10]")
	w.applyRoute(&w.targets[1], "web")
	w.reportRoute(&w.targets[1], "web")
	w.plan(99)
	if len(w.live(1)) != 2 {
		t.Errorf("%d old ones are left, and all have confirmed", len(w.live(1)))
	}
	steady(t, w, 6)
	wantEnd(t, w, 2, 6)
}

func TestCrashingRevisionCostsItsFirstBatch(t *testing.T) {
	w := rollingWorld(t, 6, "2", "0")
	w.bad[2] = true
	must(t, w.apply(2, 6))
	for w.rollout().Phase < core.RolloutRetiring {
		if n := len(w.live(2)); n > 2 {
			t.Fatalf("%d instances of a revision that has not been verified", n)
		}
		for _, id := range w.live(2) {
			if w.statuses[id].Phase == core.InstanceRunning {
				w.ends(id, core.InstanceFailed)
			}
		}
		if !acts(t, w, 6) {
			w.now = w.last.Wake
		}
	}
	r := w.rollout()
	if want := "0 of 2 instances became healthy in 10m0s; "; r.Phase != core.RolloutFailed || !strings.HasPrefix(r.Failure.Message, want) || !strings.Contains(r.Failure.Message, "exited with status 1") {
		t.Errorf("%s: %+v", r.Phase, r.Failure)
	}
	wantEnd(t, w, 1, 6)
}

func TestLateStepGoesBackByItself(t *testing.T) {
	w := rollingWorld(t, 4, "1", "0")
	must(t, w.apply(2, 4))
	for len(w.live(2)) < 3 {
		acts(t, w, 4)
	}
	w.bad[2] = true
	begun := w.now
	r := steady(t, w, 4)
	want := "2 of 4 instances became healthy, and no further one in 10m0s"
	if r.Phase != core.RolloutRolledBack || !strings.HasPrefix(r.Failure.Message, want) || w.now.Sub(begun) != 10*time.Minute {
		t.Errorf("%s after %s: %+v", r.Phase, w.now.Sub(begun), r.Failure)
	}
	wantEnd(t, w, 1, 4)
}

// The deadline is that of a step: four slow ones are not late.
func TestDeadlineIsThatOfAStep(t *testing.T) {
	w := rollingWorld(t, 4, "1", "0")
	w.inFlight["n1"]["web-0001"] = 1 // drains until its deadline
	must(t, w.apply(2, 4))
	for range 1000 {
		if w.rollout().Phase >= core.RolloutBaking {
			break
		}
		w.plan(99)
		for _, id := range w.live(2) {
			if w.statuses[id].Phase == core.InstanceRunning && !w.statuses[id].Healthy {
				w.now = w.now.Add(9 * time.Minute)
				w.plan(99)
			}
		}
		if !w.behave() && w.last.Empty() {
			w.now = w.last.Wake
		}
	}
	if r := w.rollout(); r.Phase != core.RolloutBaking || w.now.Sub(r.Started) < 36*time.Minute {
		t.Errorf("%s after %s: %+v", r.Phase, w.now.Sub(r.Started), r.Failure)
	}
	steady(t, w, 4)
	wantEnd(t, w, 2, 4)
}

// What has to drain first, for longer than the deadline, makes nothing late.
func TestDrainingIsNotLate(t *testing.T) {
	w := rollingWorld(t, 2, "0", "1")
	w.specs[2].Rollout.ProgressDeadline = core.Duration(10 * time.Second)
	for _, id := range w.live(1) {
		w.inFlight["n1"][id] = 1
	}
	must(t, w.apply(2, 2))
	if r := steady(t, w, 1); r.Phase != core.RolloutSucceeded || r.ConfirmedAt.Sub(r.Started) < 30*time.Second {
		t.Errorf("%s after %s: %+v", r.Phase, r.ConfirmedAt.Sub(r.Started), r.Failure)
	}
	wantEnd(t, w, 2, 2)
}

func TestInstancesThatDieOnTheWayAreReplaced(t *testing.T) {
	w := rollingWorld(t, 6, "2", "1")
	must(t, w.apply(2, 6))
	until(t, w, core.RolloutSwitching)
	acts(t, w, 5)
	w.ends(w.live(2)[0], core.InstanceFailed)
	w.ends(w.live(1)[0], core.InstanceLost)
	before := len(w.live(1))
	for range 100 {
		w.plan(99)
		w.behave()
		if n := len(w.live(1)); n > before {
			t.Fatalf("%d old instances, and there were %d: the new ones replace them", n, before)
		}
	}
	if r := steady(t, w, 3); r.Phase != core.RolloutSucceeded {
		t.Errorf("%s: %+v", r.Phase, r.Failure)
	}
	wantEnd(t, w, 2, 6)
}

func TestWhatStopsARollingRollout(t *testing.T) {
	for name, c := range map[string]struct {
		phase core.RolloutPhase
		spoil func(w *world)
		least int
		want  string
	}{
		"permanent": {core.RolloutSwitching, func(w *world) {
			w.report(w.live(2)[len(w.live(2))-1], func(s *core.InstanceStatus) {
				s.Phase, s.Healthy, s.Failure = core.InstanceFailed, false, &core.Failure{Message: "no such command", Permanent: true}
			})
		}, 3, "no such command"},
		"errors": {core.RolloutSwitching, func(w *world) {
			for id, s := range w.reported {
				s.Generation, s.ErrorRate = w.routes["web"].Generation, map[int]float64{2: 0.5}
				w.reported[id] = s
			}
		}, 4, "50.00 % of the answers of revision 2 are errors"},
		"failed in the bake":    {core.RolloutBaking, func(w *world) { w.ends(w.live(2)[1], core.InstanceFailed) }, 3, "exited with status 1"},
		"unhealthy in the bake": {core.RolloutBaking, func(w *world) { w.healthy(w.live(2)[1], false) }, 3, "GET /healthz 503"},
		"abort in the bake": {core.RolloutBaking, func(w *world) {
			c, err := rollout.Abort(w.view(), "abort asked for by ann")
			if err != nil {
				panic(err)
			}
			w.change(c)
		}, 4, "abort asked for by ann"},
	} {
		t.Run(name, func(t *testing.T) {
			w := rollingWorld(t, 4, "1", "0")
			w.specs[2].Rollout.MaxErrorRate = 0.1
			must(t, w.apply(2, 4))
			until(t, w, c.phase)
			acts(t, w, 4)
			c.spoil(w)
			if r := steady(t, w, c.least); r.Phase != core.RolloutRolledBack || !strings.Contains(r.Failure.Message, c.want) {
				t.Errorf("%s: %+v", r.Phase, r.Failure)
			}
			wantEnd(t, w, 1, 4)
		})
	}
}

func TestRollbackLaterRollsBack(t *testing.T) {
	w := rollingWorld(t, 4, "1", "0")
	w.specs[1] = specOf("web") // the way back is that of the revision that is left
	w.specs[1].Rollout.Smoke = []core.SmokeCheck{{Route: "web"}}
	w.specs[2].Rollout.MaxSurge = "2"
	must(t, w.apply(2, 4))
	steady(t, w, 4)
	must(t, w.rollback(0))
	r := w.rollout()
	if r.Kind != core.RolloutRollback || r.To != 1 || r.Rolling == nil || r.Rolling.MaxSurge != "2" {
		t.Fatalf("%+v", r)
	}
	if r = steady(t, w, 4); r.Phase != core.RolloutSucceeded || len(w.checks) != 0 {
		t.Errorf("%s, %d checks", r.Phase, len(w.checks))
	}
	wantEnd(t, w, 1, 4)
}

func TestRollingRefusals(t *testing.T) {
	w := rollingWorld(t, 4, "1", "0")
	must(t, w.apply(2, 4))
	wantConflict(t, w.apply(2, 4), "on its way to revision 2 already")
	until(t, w, core.RolloutSwitching)
	must(t, w.rollback(0))
	w.plan(99)
	if r := w.rollout(); r.Phase != core.RolloutRollingBack {
		t.Fatalf("%s", r.Phase)
	}
	wantConflict(t, w.rollback(0), "is rolling back already")
	_, err := rollout.Abort(w.view(), "x")
	wantConflict(t, err, "is rolling back already")
	must(t, w.apply(2, 4)) // and forth again
	steady(t, w, 4)
	wantEnd(t, w, 2, 4)
}
