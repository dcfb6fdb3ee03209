package rollout_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/rollout"
)

func (w *world) rollback(to int) error {
	history := []core.Rollout{}
	for _, r := range w.rollouts {
		history = append(history, r)
	}
	c, err := rollout.Rollback(w.view(), to, history, "rollback asked for by ann", w.now)
	if err == nil {
		w.change(c)
	}
	return err
}

func (w *world) scale(count int) error {
	c, err := rollout.Scale(w.view(), count)
	if err == nil {
		w.change(c)
	}
	return err
}

func wantConflict(t *testing.T, err error, text string) {
	t.Helper()
	if !core.IsConflict(err) || !strings.Contains(err.Error(), text) {
		t.Errorf("got %v, want a conflict: %s", err, text)
	}
	if e, ok := core.AsError(err); ok && (e.Object == "" || e.Hint == "" && !strings.Contains(text, "has the traffic")) {
		t.Errorf("%v says neither about what nor what to do: %+v", err, e)
	}
}

func TestRollbackToWarmRevisionIsOneTransaction(t *testing.T) {
	w := deployed(t, specOf("web"))
	w.specs[2] = specOf("web")
	must(t, w.apply(2, 3))
	until(t, w, core.RolloutRetiring)
	must(t, w.rollback(0))
	w.plan(99)
	wantPools(t, w, "1:100[01 02 03] 2:0[04 05 06]")
	if r := w.rollout(); r.Phase != core.RolloutSwitching || r.Kind != core.RolloutRollback || r.To != 1 || r.From != 2 || w.service.Active != 1 {
		t.Errorf("%s: %+v", r.Phase, r)
	}
	if old := w.rollouts[2]; old.Phase != core.RolloutSucceeded || old.EndedAt.IsZero() {
		t.Errorf("the one before is %s", old.Phase)
	}
	made := w.created
	wantEnd(t, w, 1, 3)
	if w.created != made {
		t.Errorf("%d instances were made", w.created-made)
	}
}

func TestRollbackLaterIsARolloutWithoutSmokeChecks(t *testing.T) {
	w := deployed(t, specOf("web"))
	w.specs[1].Rollout.Smoke = []core.SmokeCheck{{Route: "web"}}
	w.specs[2] = specOf("web")
	must(t, w.apply(2, 3))
	wantEnd(t, w, 2, 3)
	must(t, w.rollback(0))
	w.plan(99)
	if r := w.rollout(); r.Phase != core.RolloutProvisioning || r.To != 1 {
		t.Fatalf("%s to %d", r.Phase, r.To)
	}
	until(t, w, core.RolloutSwitching)
	if len(w.checks) != 0 {
		t.Error("smoke checks were made")
	}
	// It does not bake. A bad instance is replaced: the revision that was left on purpose does not come back by itself.
	until(t, w, core.RolloutRetiring)
	w.ends(w.live(1)[0], core.InstanceFailed)
	w.plan(99)
	if r := w.rollout(); r.Phase != core.RolloutRetiring {
		t.Errorf("%s", r.Phase)
	}
	wantEnd(t, w, 1, 3)
	must(t, w.rollback(0)) // forth again
	if w.rollout().To != 2 {
		t.Errorf("the rollback of a rollback goes to %d", w.rollout().To)
	}
}

func TestRollbackToWarmRevisionWaitsForEnoughOfIt(t *testing.T) {
	w := deployed(t, specOf("web"))
	w.specs[2] = specOf("web")
	must(t, w.apply(2, 3))
	until(t, w, core.RolloutRetiring)
	w.healthy(w.live(1)[0], false)
	must(t, w.rollback(1))
	w.plan(99)
	if r := w.rollout(); r.Phase != core.RolloutVerifying {
		t.Fatalf("%s with two of three instances", r.Phase)
	}
	wantPools(t, w, "2:100[04 05 06]")
	wantEnd(t, w, 1, 3)
}

func TestRollbackBeforeTheEndOfTheBakeIsAnAbort(t *testing.T) {
	for phase, want := range map[core.RolloutPhase]core.RolloutPhase{
		core.RolloutProvisioning: core.RolloutFailed, core.RolloutBaking: core.RolloutRollingBack,
	} {
		w := deployed(t, specOf("web"))
		w.specs[2] = specOf("web")
		must(t, w.apply(2, 3))
		until(t, w, phase)
		must(t, w.rollback(0))
		w.plan(99)
		if r := w.rollout(); r.Phase != want || r.Number != 2 {
			t.Errorf("from %s: rollout %d is %s", phase, r.Number, r.Phase)
		}
		wantEnd(t, w, 1, 3)
	}
}

func TestRefusals(t *testing.T) {
	w := deployed(t, specOf("web"))
	wantConflict(t, w.rollback(0), "no other revision that was good")
	if err := w.rollback(7); !core.IsNotFound(err) {
		t.Errorf("rollback to nothing: %v", err)
	}
	_, err := rollout.Abort(w.view(), "x")
	wantConflict(t, err, "no rollout in progress")
	if err := w.scale(-1); core.CodeOf(err) != core.CodeInvalid {
		t.Errorf("scale to -1: %v", err)
	}

	w.specs[2], w.specs[3] = specOf("web"), specOf("web")
	must(t, w.apply(2, 3))
	wantConflict(t, w.apply(2, 3), "on its way to revision 2 already")
	until(t, w, core.RolloutBaking)
	w.ends(w.live(2)[0], core.InstanceFailed)
	w.plan(99)
	wantConflict(t, w.apply(3, 3), "is rolling back to revision 1")
	_, err = rollout.Abort(w.view(), "x")
	wantConflict(t, err, "is rolling back already")
	wantEnd(t, w, 1, 3)

	must(t, w.apply(2, 3))
	until(t, w, core.RolloutRetiring)
	_, err = rollout.Abort(w.view(), "x")
	wantConflict(t, err, "is done")
	wantConflict(t, w.rollback(2), "has the traffic already")
	w.change(rollout.Delete(w.view(), w.now))
	wantConflict(t, w.apply(3, 3), "is being deleted")
	wantConflict(t, w.rollback(1), "is being deleted")
	wantConflict(t, w.scale(1), "is being deleted")

	first := newWorld()
	first.specs[1] = specOf("web")
	must(t, first.apply(1, 1))
	until(t, first, core.RolloutBaking)
	_, err = rollout.Abort(first.view(), "x")
	wantConflict(t, err, "no revision was active before")
}

func TestSupersede(t *testing.T) {
	for phase, ended := range map[core.RolloutPhase]core.RolloutPhase{
		core.RolloutProvisioning: core.RolloutSuperseded, core.RolloutVerifying: core.RolloutSuperseded,
		core.RolloutSwitching: core.RolloutSuperseded, core.RolloutBaking: core.RolloutSuperseded, core.RolloutRetiring: core.RolloutSucceeded,
	} {
		t.Run(phase.String(), func(t *testing.T) {
			w := deployed(t, specOf("web"))
			w.specs[2], w.specs[3] = specOf("web"), specOf("web")
			must(t, w.apply(2, 3))
			until(t, w, phase)
			from := w.service.Active
			must(t, w.apply(3, 3))
			w.plan(99)
			if old, r := w.rollouts[2], w.rollout(); old.Phase != ended || r.Number != 3 || r.From != from || r.To != 3 {
				t.Errorf("rollout 2 is %s, 3 goes from %d to %d", old.Phase, r.From, r.To)
			}
			for _, id := range w.live(3 - from) {
				t.Errorf("%s of revision %d is still wanted", id, 3-from)
			}
			wantEnd(t, w, 3, 3)
		})
	}
}

func TestSupersedeByWhatWasThereBefore(t *testing.T) {
	w := deployed(t, specOf("web"))
	w.specs[2] = specOf("web")
	must(t, w.apply(2, 3))
	until(t, w, core.RolloutVerifying)
	must(t, w.apply(1, 3)) // revision 1 has the traffic
	if w.service.Rollouts != 2 || w.rollout().Phase != core.RolloutSuperseded {
		t.Errorf("%d rollouts, the newest %s", w.service.Rollouts, w.rollout().Phase)
	}
	wantEnd(t, w, 1, 3)

	must(t, w.apply(2, 3))
	until(t, w, core.RolloutRetiring)
	made := w.created
	must(t, w.apply(1, 3)) // revision 1 is warm
	wantEnd(t, w, 1, 3)
	if w.created != made {
		t.Errorf("%d instances were made, though three were warm", w.created-made)
	}
}

func TestScale(t *testing.T) {
	w := deployed(t, specOf("web"))
	must(t, w.scale(5))
	wantEnd(t, w, 1, 5)
	wantPools(t, w, "1:100[01 02 03 04 05]")
	must(t, w.scale(2))
	w.plan(99)
	// Four and five are the newest of their nodes; two is on the node that has most after that.
	wantPools(t, w, "1:100[01 02]")
	if inst := w.instances["web-0005"]; inst.Desired != core.DesiredDrain || inst.Reason != "more than the 2 wanted" {
		t.Errorf("%+v", inst)
	}
	wantEnd(t, w, 1, 2)
	must(t, w.scale(0))
	wantEnd(t, w, 1, 0)
	wantPools(t, w, "1:100[]")
	must(t, w.scale(1))
	wantEnd(t, w, 1, 1)
}

func TestScaleDownTakesThoseThatDoNotServeFirst(t *testing.T) {
	w := deployed(t, specOf("web"))
	must(t, w.scale(6))
	w.plan(99)
	w.runs("web-0005")
	must(t, w.scale(4))
	w.plan(99)
	if got := w.live(1); !slices.Equal(got, []string{"web-0001", "web-0002", "web-0003", "web-0004"}) {
		t.Errorf("%v stay", got)
	}
	if inst := w.instances["web-0005"]; inst.Desired != core.DesiredDestroy {
		t.Errorf("%s, which never served, is wanted to %s", inst.ID, inst.Desired)
	}
}

func TestScaleDuringARollout(t *testing.T) {
	w := deployed(t, specOf("web"))
	w.specs[2] = specOf("web")
	must(t, w.apply(2, 5)) // blue stays as it is
	until(t, w, core.RolloutVerifying)
	if len(w.live(1)) != 3 || len(w.live(2)) != 5 {
		t.Errorf("%d blue, %d green", len(w.live(1)), len(w.live(2)))
	}
	must(t, w.scale(4))
	until(t, w, core.RolloutBaking)
	if len(w.live(1)) != 4 || len(w.live(2)) != 4 {
		t.Errorf("%d blue, %d green", len(w.live(1)), len(w.live(2)))
	}
	wantEnd(t, w, 2, 4)
}

func TestDelete(t *testing.T) {
	for _, phase := range []core.RolloutPhase{core.RolloutProvisioning, core.RolloutBaking, core.RolloutRetiring} {
		w := deployed(t, specOf("web"))
		w.specs[2] = specOf("web")
		must(t, w.apply(2, 3))
		until(t, w, phase)
		w.inFlight["n1"]["web-0001"] = 1
		w.change(rollout.Delete(w.view(), w.now))
		begin := w.now
		w.plan(99)
		if w.pools("web") != "removed" {
			t.Errorf("the route has %s", w.pools("web"))
		}
		for range 50 {
			w.behave()
			w.plan(99)
		}
		if inst, ok := w.instances["web-0001"]; !ok || inst.Desired != core.DesiredDrain {
			t.Errorf("%+v goes with a request in flight", inst)
		}
		if !w.settle(time.Hour) || w.service != nil || len(w.instances) != 0 || len(w.routes) != 0 {
			t.Fatalf("left: %v %d instances %d routes", w.service, len(w.instances), len(w.routes))
		}
		if took := w.now.Sub(begin); took != 30*time.Second {
			t.Errorf("took %s, the drain deadline is 30s", took)
		}
	}
}

func TestReplaceInstanceMakesTheOtherOneFirst(t *testing.T) {
	w := deployed(t, specOf("web"))
	inst := w.instances["web-0002"]
	inst.Reason = "replacement asked for by ann"
	w.instances["web-0002"] = inst
	w.plan(99)
	wantPools(t, w, "1:100[01 02 03]")
	if got := len(w.live(1)); got != 4 {
		t.Fatalf("%d instances", got)
	}
	wantEnd(t, w, 1, 3)
	wantPools(t, w, "1:100[01 03 04]")
}
