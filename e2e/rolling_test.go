package e2e

import (
	"testing"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/e2e/judge"
)

// TestRollingNobodyNotices replaces six instances step by step under load, with instard killed in the middle;
// then a revision that turns bad when nothing of the one before is left goes back by itself. No request fails
// (I8), enough instances serve all the time (I2), and never more are alive than the surge allows.
func TestRollingNobodyNotices(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	rolling := []string{"strategy=rolling", "count=6", "keep_previous=0s"}
	step := append([]string{"max_surge=2", "max_unavailable=1", "bake=1s"}, rolling...)
	c.deploy(append(step, "version=1")...)
	customers := c.customers(0.3)
	c.crash("a step", desired(core.DesiredDrain), c.shop(append(step, "version=2")...)...)
	c.settles("a step", 6)
	r := c.rollout()
	if r.Phase != core.RolloutSucceeded || r.To != 2 || r.Rolling == nil || r.Rolling.Joined != 6 {
		t.Fatalf("rollout %s is %s: %+v %+v", r.ID(), r.Phase, r.Rolling, r.Failure)
	}
	c.hold(judge.Enough)
	c.hold(judge.Bounded)

	c.refuse(append(rolling, "max_surge=100%", "max_unavailable=0", "version=3", "unhealthy_after=6s", "bake=20s")...)
	c.settles("the way back", 6)
	if r = c.rollout(); r.Phase != core.RolloutRolledBack || r.To != 3 || c.service().Service.Active != 2 {
		t.Fatalf("rollout %s is %s: %+v", r.ID(), r.Phase, r.Failure)
	}
	c.satisfied(customers.Stop())
	c.hold(judge.All)
	c.hold(judge.Bounded)
}
