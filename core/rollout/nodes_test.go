package rollout_test

import (
	"strings"
	"testing"
	"time"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/rollout"
)

// The instances of deployed are 01 and 03 on n2, 02 on n1.

func TestUnreachableNodeLeavesTrafficAndKeepsItsInstances(t *testing.T) {
	w := deployed(t, specOf("web"))
	w.node("n1", rollout.NodeUnreachable)
	w.plan(99)
	wantPools(t, w, "1:100[01 03]")
	if n := len(w.live(1)); n != 3 || w.service.Backoff != nil {
		t.Fatalf("%d instances, back-off %+v: nothing is replaced yet", n, w.service.Backoff)
	}
	w.node("n1", rollout.NodeReady)
	w.settle(time.Minute)
	wantPools(t, w, "1:100[01 02 03]")
	if w.created != 3 {
		t.Errorf("%d instances were made", w.created)
	}
}

func TestPoolOfUnreachableNodesStays(t *testing.T) {
	w := deployed(t, specOf("web"))
	for _, state := range []rollout.NodeState{rollout.NodeUnreachable, rollout.NodeDown} {
		w.node("n1", state)
		w.node("n2", state)
		w.settle(time.Minute)
		wantPools(t, w, "1:100[01 02 03]")
	}
}

func TestDownNodeIsReplacedAtOnceAndGivesWay(t *testing.T) {
	w := deployed(t, specOf("web"))
	w.node("n2", rollout.NodeDown)
	w.plan(99)
	wantPools(t, w, "1:100[02]")
	if n := len(w.live(1)); n != 5 || w.service.Backoff != nil {
		t.Fatalf("%d instances, back-off %+v: two are replaced at once, and it is nobody's failure", n, w.service.Backoff)
	}
	w.settle(time.Minute)
	wantPools(t, w, "1:100[02 04 05]")
	for _, id := range []string{"web-0001", "web-0003"} {
		if inst := w.instances[id]; inst.Desired != core.DesiredDestroy || !strings.Contains(inst.Reason, "node n2 is away since noon") {
			t.Errorf("%s is wanted to %s: %q", id, inst.Desired, inst.Reason)
		}
	}
	w.node("n2", rollout.NodeReady)
	wantEnd(t, w, 1, 3)
	wantPools(t, w, "1:100[02 04 05]")
}

func TestNodeThatIsBackInTimeIsUsedAgain(t *testing.T) {
	w := deployed(t, specOf("web"))
	w.node("n2", rollout.NodeDown)
	w.plan(99)
	w.node("n2", rollout.NodeReady)
	wantEnd(t, w, 1, 3)
	wantPools(t, w, "1:100[01 02 03]")
}

func TestNodeThatCrashedDoesNotServeWhenItIsBack(t *testing.T) {
	w := deployed(t, specOf("web"))
	w.crash("n1")
	w.node("n1", rollout.NodeUnreachable)
	w.plan(99)
	w.node("n1", rollout.NodeReady)
	w.plan(99)
	wantPools(t, w, "1:100[01 03]")
	wantEnd(t, w, 1, 3)
}

func TestRemovedNodeIsForgotten(t *testing.T) {
	w := deployed(t, specOf("web"))
	w.node("n1", rollout.NodeRemoved)
	w.plan(99)
	if _, there := w.instances["web-0002"]; there || w.service.Backoff != nil {
		t.Errorf("web-0002 is there: %t; back-off %+v", there, w.service.Backoff)
	}
	wantEnd(t, w, 1, 3)
	wantPools(t, w, "1:100[01 03 04]")
}

func TestDrainReplacesFirst(t *testing.T) {
	w := deployed(t, specOf("web"))
	w.drain("n2", "node n2 is drained")
	for range 100 {
		before := len(w.instances)
		w.plan(99)
		serving := 0
		for _, p := range w.routes["web"].Pools {
			serving += len(p.Endpoints)
		}
		if serving < 3 || len(w.live(1)) > 4 {
			t.Fatalf("I2: %s, %d instances", w.pools("web"), len(w.live(1)))
		}
		if !w.behave() && before == len(w.instances) && w.last.Empty() {
			break
		}
	}
	wantEnd(t, w, 1, 3)
	wantPools(t, w, "1:100[02 04 05]")
}

func TestDrainThatIsTakenBack(t *testing.T) {
	w := deployed(t, specOf("web"))
	w.drain("n1", "node n1 is drained")
	w.plan(99)
	w.drain("n1", "")
	wantEnd(t, w, 1, 3)
	wantPools(t, w, "1:100[01 02 03]")
}

func TestDrainWithoutRoomKeepsServing(t *testing.T) {
	w := deployed(t, specOf("web"))
	w.drain("n1", "drained")
	w.drain("n2", "drained")
	w.settle(time.Hour)
	wantPools(t, w, "1:100[01 02 03]")
}

// What a target of cluster scope made does not die with the node that looked after it.
func TestSharedTargetsOutliveNodes(t *testing.T) {
	w := deployed(t, specOf("web"))
	w.node("n1", rollout.NodeUnreachable)
	v := w.view()
	v.Shared = map[rollout.Compute]bool{{Driver: "process", Target: "local"}: true}
	if d := rollout.Plan(v, w.now); !d.Empty() {
		t.Errorf("%+v", d)
	}
}

func TestDeadNodeIsNoReasonToRollBack(t *testing.T) {
	w := deployed(t, specOf("web"))
	w.specs[2] = specOf("web")
	if err := w.apply(2, 3); err != nil {
		t.Fatal(err)
	}
	for w.rollout().Phase != core.RolloutBaking {
		w.plan(99)
		w.behave()
	}
	for _, state := range []rollout.NodeState{rollout.NodeUnreachable, rollout.NodeDown, rollout.NodeReady} {
		w.node("n1", state)
		w.plan(99)
		if p := w.rollout().Phase; p != core.RolloutBaking {
			t.Fatalf("%v: the rollout is %s: %+v", state, p, w.rollout().Failure)
		}
		w.behave()
	}
	w.settle(2 * time.Hour)
	if p := w.rollout().Phase; p != core.RolloutSucceeded {
		t.Fatalf("the rollout is %s", p)
	}
}

// A switch does not wait for the data plane of a node that is away, and an instance only until the end
// of its drain (I5).
func TestTrafficNodeAway(t *testing.T) {
	w := deployed(t, specOf("web"))
	w.specs[2] = specOf("web")
	if err := w.apply(2, 3); err != nil {
		t.Fatal(err)
	}
	for w.rollout().Phase != core.RolloutVerifying {
		w.plan(99)
		w.behave()
	}
	w.node("n1", rollout.NodeUnreachable)
	w.node("n1", rollout.NodeDown)
	w.settle(2 * time.Minute)
	if p := w.rollout().Phase; p != core.RolloutRetiring {
		t.Fatalf("the rollout is %s: %s", p, w.last.Waiting)
	}
	w.now = w.service.KeepUntil
	w.plan(99)
	w.plan(99)
	for range 5 {
		w.behave()
		w.plan(99)
	}
	blue := w.instances["web-0001"]
	if blue.Desired != core.DesiredDrain {
		t.Fatalf("%s is wanted to %s while n1 may still send to it", blue.ID, blue.Desired)
	}
	w.now = blue.Drain.Add(30 * time.Second)
	w.plan(99)
	if blue = w.instances["web-0001"]; blue.Desired != core.DesiredDestroy {
		t.Fatalf("%s is wanted to %s after the deadline: %s", blue.ID, blue.Desired, w.last.Waiting)
	}
}
