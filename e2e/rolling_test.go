package e2e

import (
	"fmt"
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

// stepByStep replaces the instances on three nodes step by step, while customers come to the proxy of each node. At the
// end every node has one, as before.
func (tr *trio) stepByStep(t *testing.T) {
	before := tr.settled(t, 0, 3)
	shoppers := startCustomers(tr.addresses)
	tr.applyBy(t, 1, "hello from the next one, hello", 3, "    strategy = \"rolling\"\n    max_surge = \"1\"\n    max_unavailable = \"1\"\n")
	after := tr.settled(t, 2, 3)
	shoppers.leave(t)
	for id := range before {
		if after[id] != "" {
			t.Errorf("%s is still there", id)
		}
	}
	for name, list := range map[string]map[string]string{"before": before, "after": after} {
		on := map[string]int{}
		for _, node := range list {
			on[node]++
		}
		if fmt.Sprint(on) != "map[n1:1 n2:1 n3:1]" {
			t.Errorf("%s the rollout there are %v on the nodes, want one on each", name, on)
		}
	}
	records, err := judge.Read(tr.ctx, tr.Nodes[0].API)
	if err != nil {
		t.Fatal(err)
	}
	for _, check := range []func([]core.Record) ([]string, error){judge.All, judge.Enough, judge.Bounded} {
		broken, err := check(records)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range broken[:min(len(broken), 10)] {
			t.Error(line)
		}
	}
	service, err := tr.Nodes[0].API.Service(tr.ctx, "hello", 0)
	if err != nil {
		t.Fatal(err)
	}
	if r := service.Rollout.Rollout; r.Phase != core.RolloutSucceeded || r.Rolling == nil || r.Rolling.Joined != 3 {
		t.Errorf("rollout %s is %s: %+v", r.ID(), r.Phase, r.Rolling)
	}
}
