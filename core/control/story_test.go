package control_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/control"
	"github.com/instarhq/instar/core/state"
)

func TestDeployUpgradeAndBackWarm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		applied := w.apply(version("shop", 1, 3))
		if len(applied.Rollouts) != 1 || applied.Rollouts[0] != "shop/1" || applied.Plan.Services[0].Action != core.ActionCreate {
			t.Errorf("%+v", applied)
		}
		w.rest("shop", 1, 3)
		second := version("shop", 2, 3)
		second.Spec.Rollout.Smoke = []core.SmokeCheck{{Route: "shop", Method: "GET", Path: "/"}}
		w.apply(second)
		w.phase("shop/2", core.RolloutRetiring)
		if got := len(w.instances()); got != 6 {
			t.Errorf("%d instances while the old ones are warm", got)
		}
		applied, err := w.ops.Rollback(w.ctx, ann(), "shop", 0)
		w.must(err)
		r, _ := state.Rollouts.Get(w.state.View(), "shop/3")
		if applied.Rollouts[0] != "shop/3" || r.Phase != core.RolloutSwitching || r.Kind != core.RolloutRollback || r.SwitchedAt.IsZero() {
			t.Errorf("not flipped by the operator's own transaction: %+v", r)
		}
		w.rest("shop", 1, 3)
		for id := range state.Checks.All(w.state.View()) {
			t.Errorf("check %s of an ended rollout is left", id)
		}
		log(t, w)
	})
}

// log checks that every record of the controller says what and why.
func log(t *testing.T, w *world) {
	t.Helper()
	seen := map[string]bool{}
	for seq := uint64(1); seq <= w.store.Seq(); seq++ {
		rec, err := w.store.Record(w.ctx, seq)
		w.must(err)
		m := rec.Txn.Meta
		if m.Principal != "controller" {
			continue
		}
		seen[m.Verb] = true
		if m.Cause >= seq {
			t.Errorf("record %d was caused by %d", seq, m.Cause)
		}
	}
	for _, verb := range []string{"instance.create", "rollout.verify", "rollout.switch", "rollout.bake", "rollout.retire", "rollout.succeed"} {
		if !seen[verb] {
			t.Errorf("no record has verb %s: %v", verb, seen)
		}
	}
}

func TestUpgradeThatDoesNotBecomeHealthy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.apply(version("shop", 1, 3))
		w.rest("shop", 1, 3)
		before := w.instances()
		w.set(func() { w.bad["shop-2.tar.gz"] = true })
		w.apply(version("shop", 2, 3))
		w.phase("shop/2", core.RolloutVerifying)
		w.until("a reason", func(v *state.View) bool {
			return strings.Contains(control.Waiting(v, "shop", time.Now()), "0 of 3 instances of revision 2 are healthy; shop-")
		})
		w.phase("shop/2", core.RolloutFailed)
		w.rest("shop", 1, 3)
		if got := w.instances(); strings.Join(got, " ") != strings.Join(before, " ") {
			t.Errorf("instances %v became %v", before, got)
		}
		r, _ := state.Rollouts.Get(w.state.View(), "shop/2")
		if want := "0 of 3 instances became healthy in 1m0s; shop-"; r.Failure == nil || !strings.HasPrefix(r.Failure.Message, want) {
			t.Errorf("%+v", r.Failure)
		}
		// The same once more is a new rollout to the revision that there is already.
		w.set(func() { w.bad["shop-2.tar.gz"] = false })
		if a := w.apply(version("shop", 2, 3)); a.Plan.Services[0].Action != core.ActionReturn || a.Rollouts[0] != "shop/3" {
			t.Errorf("%+v", a)
		}
		w.rest("shop", 2, 3)
	})
}

func TestFailingInstancesAndPermanentFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.set(func() {
			w.failing["shop-1.tar.gz"] = &core.Failure{Message: "exited with status 1", Logs: []string{"no port"}}
		})
		w.apply(version("shop", 1, 2))
		w.phase("shop/1", core.RolloutFailed)
		r, _ := state.Rollouts.Get(w.state.View(), "shop/1")
		if !strings.HasSuffix(r.Failure.Message, " on n1: exited with status 1") || r.Failure.Logs[0] != "no port" {
			t.Errorf("%+v", r.Failure)
		}
		created := 0
		for seq := uint64(1); seq <= w.store.Seq(); seq++ {
			rec, _ := w.store.Record(w.ctx, seq)
			for _, op := range rec.Txn.Ops {
				if op.Kind == core.KindInstance && op.IfSeq == 0 {
					created++
				}
			}
		}
		if created < 6 || created > 16 { // 1+2+4+8+16+32 s of back-off fill the minute
			t.Errorf("%d instances were made in a minute", created)
		}
		w.set(func() { w.failing["shop-2.tar.gz"] = &core.Failure{Message: "no such command", Permanent: true} })
		begin := time.Now()
		w.apply(version("shop", 2, 2))
		w.phase("shop/2", core.RolloutFailed)
		if took := time.Since(begin); took > time.Second {
			t.Errorf("a permanent failure ended the rollout after %s", took)
		}
		w.until("nothing left", func(v *state.View) bool {
			for range state.Instances.All(v) {
				return false
			}
			return true
		})
	})
}

func TestBadInTheBake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.apply(version("shop", 1, 3))
		w.rest("shop", 1, 3)
		w.apply(version("shop", 2, 4))
		w.phase("shop/2", core.RolloutBaking)
		w.set(func() { w.bad["shop-2.tar.gz"] = true })
		w.phase("shop/2", core.RolloutRolledBack)
		w.rest("shop", 1, 3)
	})
}

func TestAbortAtEachPhase(t *testing.T) {
	for _, phase := range []core.RolloutPhase{core.RolloutProvisioning, core.RolloutVerifying, core.RolloutSwitching, core.RolloutBaking} {
		t.Run(phase.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.apply(version("shop", 1, 3))
				w.rest("shop", 1, 3)
				w.apply(version("shop", 2, 3))
				w.phase("shop/2", phase)
				applied, err := w.ops.Abort(w.ctx, ann(), "shop/2")
				w.must(err)
				r, _ := state.Rollouts.Get(w.state.View(), "shop/2")
				if applied.Rollouts[0] != "shop/2" || !r.Phase.Over() && r.Phase != core.RolloutRollingBack {
					t.Errorf("the abort's own transaction left it %s", r.Phase)
				}
				w.rest("shop", 1, 3)
			})
		})
	}
}

func TestSupersedeScaleReplaceDelete(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.apply(version("shop", 1, 2))
		w.rest("shop", 1, 2)
		w.apply(version("shop", 2, 2))
		w.phase("shop/2", core.RolloutVerifying)
		w.apply(version("shop", 3, 2))
		w.rest("shop", 3, 2)

		_, err := w.ops.Scale(w.ctx, ann(), "shop", 5)
		w.must(err)
		w.rest("shop", 3, 5)
		if a := w.apply(version("shop", 3, 1)); a.Plan.Services[0].Action != core.ActionScale || len(a.Rollouts) != 0 {
			t.Errorf("%+v", a)
		}
		w.rest("shop", 3, 1)

		old := w.instances()[0]
		_, err = w.ops.ReplaceInstance(w.ctx, ann(), old)
		w.must(err)
		w.until("another instance", func(*state.View) bool { now := w.instances(); return len(now) == 1 && now[0] != old })
		w.rest("shop", 3, 1)

		_, err = w.ops.Rollback(w.ctx, ann(), "shop", 1) // cold
		w.must(err)
		w.rest("shop", 1, 1)

		_, err = w.ops.Delete(w.ctx, ann(), "shop")
		w.must(err)
		w.until("nothing left", func(v *state.View) bool { return state.Services.Seq(v, "shop") == 0 })
		for _, kind := range []core.Kind{core.KindRevision, core.KindRollout, core.KindInstance, core.KindInstanceStatus, core.KindRoute, core.KindRouteStatus, core.KindCheck} {
			left, err := w.store.List(w.ctx, kind, "", 0)
			w.must(err)
			if len(left) > 0 {
				t.Errorf("%d of kind %s are left: %s", len(left), kind, left[0].ID)
			}
		}
		w.orphans()
		generation := w.planes["shop"].Generation
		w.apply(version("shop", 1, 1))
		w.rest("shop", 1, 1)
		if route, _ := state.Routes.Get(w.state.View(), "shop"); route.Generation <= generation {
			t.Errorf("generation %d after %d", route.Generation, generation)
		}
	})
}

func TestInstanceAndDriverTrouble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.apply(version("shop", 1, 3))
		w.rest("shop", 1, 3)
		lost := w.instances()[1]
		w.set(func() { w.missing[lost] = true })
		w.until("it leaves", func(v *state.View) bool { return state.Instances.Seq(v, lost) == 0 })
		w.rest("shop", 1, 3)

		w.set(func() { w.away = true })
		w.update("agent:n1", func(tx *state.Tx) {
			node, _ := state.Nodes.Get(tx, "n1")
			targets := append([]core.Target(nil), node.Targets...)
			targets[0].Healthy, targets[0].Reason = false, "driver exited"
			node.Targets = targets
			state.Nodes.Put(tx, "n1", node)
		})
		_, err := w.ops.Scale(w.ctx, ann(), "shop", 5)
		w.must(err)
		want := "wanted 2, room for 0: n1/local: not healthy: driver exited"
		w.until(want, func(v *state.View) bool { return control.Waiting(v, "shop", time.Now()) == want })
		w.set(func() { w.away = false })
		w.publish()
		w.rest("shop", 1, 5)
	})
}

func TestManyServicesGoOnBesideABrokenOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.apply(version("shop", 1, 2), version("basket", 1, 1))
		w.rest("shop", 1, 2)
		// A rollout whose revision does not exist: nothing that control writes, but what if.
		w.update("test", func(tx *state.Tx) {
			svc, _ := state.Services.Get(tx, "basket")
			svc.Revision, svc.Rollouts = 9, svc.Rollouts+1
			state.Services.Put(tx, "basket", svc)
			state.Rollouts.Put(tx, core.RolloutID("basket", svc.Rollouts), core.Rollout{
				Format: core.Format, Service: "basket", Number: svc.Rollouts,
				Kind: core.RolloutDeploy, From: 1, FromCount: 1, To: 9, Phase: core.RolloutProvisioning, Started: time.Now(), Deadline: time.Now().Add(time.Minute),
			})
		})
		w.apply(version("shop", 2, 2))
		w.rest("shop", 2, 2)
		w.rest("basket", 1, 1)
	})
}

func TestOrphanedStatusesAreSwept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.update("agent:n1", func(tx *state.Tx) {
			state.InstanceStatuses.Put(tx, "old-1", core.InstanceStatus{Format: core.Format, ID: "old-1", Service: "old", Phase: core.InstanceGone})
			state.RouteStatuses.Put(tx, "old@n1/local", core.RouteStatus{Format: core.Format, Route: "old", Node: "n1", Target: "local"})
		})
		w.until("swept", func(v *state.View) bool {
			return state.InstanceStatuses.Seq(v, "old-1") == 0 && state.RouteStatuses.Seq(v, "old@n1/local") == 0
		})
	})
}

func TestOldRolloutsAreCollected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		first, second := version("shop", 1, 1), version("shop", 2, 1)
		for _, d := range []*core.Declared{&first, &second} {
			d.Spec.Rollout.Bake, d.Spec.Rollout.KeepPrevious = core.Duration(time.Millisecond), core.Duration(time.Millisecond)
		}
		for range 28 {
			w.apply(first)
			w.rest("shop", 1, 1)
			w.apply(second)
			w.rest("shop", 2, 1)
		}
		w.until("50 rollouts", func(v *state.View) bool {
			n := 0
			for range state.Rollouts.By(v, state.ByService, "shop") {
				n++
			}
			svc, _ := state.Services.Get(v, "shop")
			return n == 50 && svc.Rollouts == 56 && svc.Revisions == 2
		})
	})
}

func TestControllerEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		ctx, cancel := context.WithCancel(w.ctx)
		ended := make(chan error)
		go func() { ended <- control.New(control.Config{State: w.state}).Run(ctx) }() // beside the other one
		w.apply(version("shop", 1, 3))
		w.rest("shop", 1, 3)
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("ended with %v", err)
		}
	})
}
