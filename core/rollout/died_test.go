package rollout_test

import (
	"strings"
	"testing"

	"github.com/instarhq/instar/core"
)

// TestRollbackToWhatHasDiedGoesNowhere: what was warm dies before a data plane has switched to it. The traffic stays where
// it is well, instead of going to nobody.
func TestRollbackToWhatHasDiedGoesNowhere(t *testing.T) {
	w := deployed(t, specOf("web"))
	w.specs[2] = specOf("web")
	must(t, w.apply(2, 3))
	until(t, w, core.RolloutRetiring)
	must(t, w.rollback(0))
	w.plan(99)
	if r := w.rollout(); r.Phase != core.RolloutSwitching {
		t.Fatalf("the rollback is %s, want it switching", r.Phase)
	}
	for _, id := range w.live(1) {
		w.ends(id, core.InstanceFailed)
	}
	w.plan(99)
	r := w.rollout()
	if r.Phase != core.RolloutRollingBack || w.service.Active != 2 || r.Failure == nil || !strings.Contains(r.Failure.Message, "revision 1") {
		t.Errorf("the rollback is %s, revision %d active: %+v", r.Phase, w.service.Active, r.Failure)
	}
	if pools := w.pools("web"); !strings.Contains(pools, "2:100[04 05 06]") {
		t.Errorf("the pools are %s, want everything at revision 2", pools)
	}
	wantEnd(t, w, 2, 3)
}
