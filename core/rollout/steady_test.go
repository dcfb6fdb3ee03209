package rollout_test

import (
	"strings"
	"testing"
	"time"

	"github.com/instarhq/instar/core"
)

func TestFailedInstanceIsReplaced(t *testing.T) {
	for _, phase := range []core.InstancePhase{core.InstanceFailed, core.InstanceLost, core.InstanceGone} {
		w := deployed(t, specOf("web"))
		w.ends("web-0002", phase)
		w.plan(99)
		wantPools(t, w, "1:100[01 03]")
		if inst := w.instances["web-0002"]; phase != core.InstanceGone && inst.Desired != core.DesiredDestroy {
			t.Errorf("%s: wanted to %s", phase, inst.Desired)
		}
		if b := w.service.Backoff; b == nil || b.Revision != 1 || b.Failures != 1 || b.Until.Sub(w.now) != time.Second {
			t.Errorf("%s: back-off %+v", phase, b)
		}
		if !strings.HasPrefix(w.last.Waiting, "1 instance is replaced at ") {
			t.Errorf("%s: waiting %q", phase, w.last.Waiting)
		}
		wantEnd(t, w, 1, 3)
		wantPools(t, w, "1:100[01 03 04]")
	}
}

func TestBackoffIsForgotten(t *testing.T) {
	w := deployed(t, specOf("web"))
	for i, want := range []time.Duration{time.Second, 2 * time.Second, 4 * time.Second, time.Second} {
		if i == 3 {
			w.now = w.now.Add(11 * time.Minute)
		}
		w.ends(w.live(1)[0], core.InstanceFailed)
		w.plan(99)
		if got := w.service.Backoff.Until.Sub(w.now); got != want {
			t.Errorf("failure %d is replaced after %s, want %s", i, got, want)
		}
		w.behave()
		w.now = w.service.Backoff.Until
		w.plan(99)
		w.behave()
	}
	w.service.Backoff = &core.Backoff{Revision: 1, Failures: 30, Until: w.now.Add(time.Hour)} // the clock was set back
	w.ends(w.live(1)[0], core.InstanceFailed)
	w.plan(99)
	if got := w.service.Backoff.Until.Sub(w.now); got != 5*time.Minute {
		t.Errorf("the longest delay is %s", got)
	}
	w.now = w.service.Backoff.Until.Add(-2 * time.Hour)
	w.plan(99)
	if len(w.live(1)) != 3 {
		t.Error("a clock that was set back holds up a replacement for hours")
	}
}

func TestFailuresAtOnceAreOneWave(t *testing.T) {
	w := deployed(t, specOf("web"))
	for _, id := range w.live(1) {
		w.ends(id, core.InstanceLost)
	}
	w.plan(99)
	if b := w.service.Backoff; b.Failures != 1 {
		t.Errorf("%+v", b)
	}
	wantEnd(t, w, 1, 3)
}

func TestUnhealthyLeavesAndStaysUntilAnotherServes(t *testing.T) {
	w := deployed(t, specOf("web"))
	w.healthy("web-0001", false)
	w.plan(99)
	wantPools(t, w, "1:100[02 03]")
	w.plan(99)
	if got := len(w.live(1)); got != 4 {
		t.Fatalf("%d instances", got)
	}
	w.healthy("web-0001", true)
	w.plan(99)
	wantPools(t, w, "1:100[01 02 03]")
	w.plan(99)
	if got := w.live(1); len(got) != 3 || got[0] != "web-0001" {
		t.Errorf("it has recovered, and yet %v are left", got)
	}
	wantEnd(t, w, 1, 3)
}

func TestAllUnhealthyStayInThePool(t *testing.T) {
	w := deployed(t, specOf("web"))
	for i, want := range []string{"1:100[02 03]", "1:100[03]", "1:100[01 02 03]"} {
		w.healthy([]string{"web-0001", "web-0002", "web-0003"}[i], false)
		w.plan(99)
		wantPools(t, w, want)
	}
	for _, id := range []string{"web-0001", "web-0002", "web-0003"} {
		w.healthy(id, true)
	}
	wantEnd(t, w, 1, 3)
	wantPools(t, w, "1:100[01 02 03]")
	if w.created > 5 {
		t.Errorf("%d instances were made while none could become healthy", w.created-3)
	}
}

func TestInstanceThatNeverBecomesHealthyIsReplacedInTheEnd(t *testing.T) {
	w := deployed(t, specOf("web"))
	w.bad[1] = true
	w.ends("web-0003", core.InstanceFailed)
	begin := w.now
	for w.now.Sub(begin) < 2*time.Hour && w.created < 8 {
		d := w.plan(99)
		if !w.behave() && d.Empty() {
			w.now = d.Wake
		}
	}
	if took := w.now.Sub(begin); took < 35*time.Minute {
		t.Errorf("%d instances in %s", w.created-3, took)
	}
	wantPools(t, w, "1:100[01 02]")
	w.bad[1] = false
	wantEnd(t, w, 1, 3)
}

func TestHealthyInstanceWithoutAnAddressDoesNotServe(t *testing.T) {
	w := deployed(t, specOf("web"))
	w.specs[2] = specOf("web")
	must(t, w.apply(2, 1))
	w.plan(99)
	id := w.live(2)[0]
	w.report(id, func(s *core.InstanceStatus) { s.Phase, s.Healthy = core.InstanceRunning, true })
	w.plan(99)
	if r := w.rollout(); r.Phase != core.RolloutVerifying {
		t.Errorf("%s", r.Phase)
	}
	wantPools(t, w, "1:100[01 02 03]")
}

func TestDrain(t *testing.T) {
	w := deployed(t, specOf("web"))
	w.inFlight["n1"]["web-0003"], w.inFlight["n2"]["web-0002"] = 1, 1
	must(t, w.scale(1))
	w.plan(99)
	drained := w.now
	for range 20 {
		w.behave()
		w.plan(99)
	}
	for _, id := range []string{"web-0002", "web-0003"} {
		if w.instances[id].Desired != core.DesiredDrain {
			t.Fatalf("%s is wanted to %s with requests in flight", id, w.instances[id].Desired)
		}
	}
	w.inFlight["n1"]["web-0003"] = 0
	w.behave()
	w.plan(99)
	if w.instances["web-0003"].Desired != core.DesiredDestroy || w.instances["web-0002"].Desired != core.DesiredDrain {
		t.Errorf("%s is quiet, and wanted to %s", "web-0003", w.instances["web-0003"].Desired)
	}
	if !w.last.Wake.Equal(drained.Add(30 * time.Second)) {
		t.Errorf("wakes at %s, drained at %s", w.last.Wake, drained)
	}
	w.now = w.last.Wake
	w.plan(99)
	if w.instances["web-0002"].Desired != core.DesiredDestroy {
		t.Error("the drain deadline is over")
	}
	wantEnd(t, w, 1, 1)
}

func TestTargetThatDoesNotApplyKeepsInstances(t *testing.T) {
	w := deployed(t, specOf("web"))
	must(t, w.scale(2))
	w.plan(99)
	gone := "web-0003"
	w.applyRoute(&w.targets[0], "web")
	w.reportRoute(&w.targets[0], "web")
	w.now = w.now.Add(time.Hour)
	w.plan(99)
	if w.instances[gone].Desired != core.DesiredDrain {
		t.Fatal("n2 still sends to it")
	}
	if want := "route web without it is not in effect at n2/local"; !strings.Contains(w.last.Waiting, want) {
		t.Errorf("waiting %q", w.last.Waiting)
	}
	w.targets[1].Healthy = false // n2 cannot be reached, and the deadline is over
	w.plan(99)
	if w.instances[gone].Desired != core.DesiredDestroy {
		t.Errorf("wanted to %s", w.instances[gone].Desired)
	}
}

func TestRoutesFollowTheRevision(t *testing.T) {
	w := deployed(t, specOf("web", "web-old"))
	w.specs[2] = specOf("web", "web-new")
	must(t, w.apply(2, 3))
	until(t, w, core.RolloutSwitching)
	if got := w.pools("web-old") + " " + w.pools("web-new"); got != "removed 2:100[04 05 06]" {
		t.Errorf("routes: %s", got)
	}
	until(t, w, core.RolloutBaking)
	before := w.routes["web-old"].Generation
	w.ends("web-0005", core.InstanceFailed)
	w.plan(99)
	if got := w.pools("web-old") + " " + w.pools("web-new"); got != "1:100[01 02 03] removed" {
		t.Errorf("after the way back: %s", got)
	}
	if w.routes["web-old"].Generation <= before {
		t.Error("an older generation would overwrite a newer one")
	}
	wantEnd(t, w, 1, 3)
	if _, ok := w.routes["web-new"]; ok || len(w.routes) != 2 {
		t.Errorf("routes left: %v", w.routes)
	}
}

func TestNoHealthyTargetIsSaid(t *testing.T) {
	w := newWorld()
	w.specs[1] = specOf("web")
	for i := range w.targets {
		w.targets[i].Healthy, w.targets[i].Reason = false, "driver exited"
	}
	must(t, w.apply(1, 1))
	for range 10 {
		w.plan(99)
		w.behave()
	}
	if want := "preview of revision 1: route web has no healthy traffic target of driver proxy (n2/local: driver exited)"; w.last.Waiting != want {
		t.Errorf("waiting %q", w.last.Waiting)
	}
	until(t, w, core.RolloutFailed)
	if f := w.rollout().Failure; !strings.HasPrefix(f.Message, "not verified in 10m0s: route web has no healthy traffic target") {
		t.Errorf("%+v", f)
	}
}

func TestSmokeCheckThatFailsEndsTheRollout(t *testing.T) {
	w := deployed(t, specOf("web"))
	w.specs[2] = specOf("web")
	w.specs[2].Rollout.Smoke = []core.SmokeCheck{{Route: "web"}}
	must(t, w.apply(2, 3))
	until(t, w, core.RolloutVerifying)
	for !w.smoke(&w.targets[1], "GET /: status 500") {
		for _, id := range w.live(2) {
			w.step(id)
		}
		w.plan(99)
		w.applyRoute(&w.targets[0], "web")
		w.applyRoute(&w.targets[1], "web")
	}
	w.reportRoute(&w.targets[0], "web")
	w.reportRoute(&w.targets[1], "web")
	w.plan(99)
	if r := w.rollout(); r.Phase != core.RolloutFailed || r.Failure.Message != "smoke check at n2/local: GET /: status 500" {
		t.Errorf("%s: %+v", r.Phase, r.Failure)
	}
	wantEnd(t, w, 1, 3)
}

func TestRemovedRouteStaysWhileATargetMayStillHaveIt(t *testing.T) {
	w := deployed(t, specOf("web", "web-old"))
	w.specs[2] = specOf("web")
	must(t, w.apply(2, 3))
	until(t, w, core.RolloutVerifying)
	w.targets[1].Healthy = false // and has both routes in effect
	if !w.settle(2*time.Hour) || w.rollout().Phase != core.RolloutSucceeded {
		t.Fatalf("%s: %s", w.rollout().Phase, w.last.Waiting)
	}
	if got := w.pools("web-old"); got != "removed" {
		t.Errorf("the route is %s, and n2 may still send to it", got)
	}
	w.targets[1].Healthy = true
	wantEnd(t, w, 2, 3)
	if _, ok := w.routes["web-old"]; ok {
		t.Error("every target has confirmed, and the route is still there")
	}
}
