package control_test

import (
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/recovery"
	"github.com/instarhq/instar/core/state"
)

// restored puts a world into the state that a restore leaves: a new generation, and nothing approved.
func (w *world) restored() {
	w.update("local:ann", func(tx *state.Tx) {
		state.Lineages.Put(tx, "dev/1234/2", core.Lineage{Format: core.Format, Origin: "dev/1234/2"})
		state.Recoveries.Put(tx, core.RecoveryObject, core.Recovery{Format: core.Format, Since: time.Now().UTC()})
	})
}

// find reports as an agent does after a restore: what the backend has.
func (w *world) find(extra ...recovery.Listed) {
	w.update("agent:n1", func(tx *state.Tx) {
		w.mu.Lock()
		defer w.mu.Unlock()
		var listed []recovery.Listed
		for _, id := range slices.Sorted(maps.Keys(w.backend)) {
			if inst, ok := state.Instances.Get(tx, id); ok {
				rev, _ := state.Revisions.Get(tx, core.RevisionID(inst.Service, inst.Revision))
				listed = append(listed, recovery.Listed{
					ID: id, Cluster: "1234", Service: inst.Service, Revision: rev.Digest, Running: true,
					Addresses: map[string]string{"http": "127.0.0.1:8000"},
				})
			}
		}
		at := recovery.Target{Node: "n1", Driver: "process", Name: "local"}
		findings := recovery.Classify(tx, "1234", at, append(listed, extra...))
		findings = append(findings, core.Finding{Format: core.Format, Node: "n1", Driver: "process", Target: "local", Class: core.ClassListed})
		for _, f := range findings {
			state.Findings.Put(tx, core.FindingID(f.Node, f.Driver, f.Target, f.Instance), f)
		}
	})
}

func TestRestoreWaitsForItsApprovalAndAdopts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.apply(version("shop", 1, 3))
		w.rest("shop", 1, 3)
		before := w.instances()
		w.restored()

		// One has ended since the snapshot, another has been made, and one is of a revision that nobody knows.
		rev, _ := state.Revisions.Get(w.state.View(), "shop/1")
		lost := before[0]
		w.set(func() {
			delete(w.backend, lost)
			w.missing[lost] = true
			w.backend["shop-newer"] = rev.Spec.Artifact.Source
		})
		if _, err := w.ops.Scale(w.ctx, ann(), "shop", 9); core.CodeOf(err) != core.CodeConflict {
			t.Errorf("a verb before the approval: %v", err)
		}
		if _, err := recovery.Approve(w.ctx, w.state, ann(), core.ApproveRequest{}, time.Now); core.CodeOf(err) != core.CodeUnavailable {
			t.Errorf("approved before anybody looked: %v", err)
		}
		at := map[string]string{"http": "127.0.0.1:8000"}
		w.find(
			recovery.Listed{ID: "shop-newer", Cluster: "1234", Service: "shop", Revision: rev.Digest, Running: true, Addresses: at},
			recovery.Listed{ID: "shop-v2", Cluster: "1234", Service: "shop", Revision: "sha256:22", Running: true, Addresses: at},
		)
		view, err := recovery.Show(w.state.View())
		w.must(err)
		want := map[core.Class]int{core.ClassAdopt: 2, core.ClassMissing: 1, core.ClassExcess: 1, core.ClassUnknown: 1}
		if !maps.Equal(view.Classes, want) || len(view.Silent) != 0 {
			t.Errorf("found %v, silent %v", view.Classes, view.Silent)
		}
		made := len(w.made)
		<-time.After(10 * time.Minute)
		synctest.Wait()
		if len(w.made) != made {
			t.Error("something was made before the approval")
		}

		_, err = recovery.Approve(w.ctx, w.state, ann(), core.ApproveRequest{}, time.Now)
		w.must(err)
		controller := recovery.NewController(recovery.ControllerConfig{State: w.state})
		go func() { _ = controller.Run(w.ctx) }()
		w.rest("shop", 1, 3)
		w.until("the recovery's end", func(v *state.View) bool { return state.Recoveries.Seq(v, core.RecoveryObject) == 0 })
		if !slices.Contains(w.instances(), "shop-newer") {
			t.Errorf("what was found was not taken in: %v", w.instances())
		}
		if w.made["shop-newer"] != 0 || len(w.made) != made {
			t.Errorf("made %v: the instance that was found should have done", w.made)
		}
		route, _ := state.Routes.Get(w.state.View(), "shop")
		if floor := recovery.Floor(w.state.View()); floor == 0 || route.Generation <= floor {
			t.Errorf("the route has generation %d, the floor is %d", route.Generation, floor)
		}
		if n := len(maps.Collect(state.Findings.All(w.state.View()))); n != 0 {
			t.Errorf("%d findings are left", n)
		}
	})
}

// A restored state that has none of what serves now does not take the traffic before it can.
func TestTrafficStaysUntilTheRestoredRevisionServes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.apply(version("shop", 1, 2))
		w.rest("shop", 1, 2)
		w.restored()
		w.set(func() {
			for id := range w.backend {
				delete(w.backend, id)
			}
			w.away = true
		})
		w.find()
		before, _ := state.Routes.Get(w.state.View(), "shop")
		_, err := recovery.Approve(w.ctx, w.state, ann(), core.ApproveRequest{}, time.Now)
		w.must(err)
		<-time.After(30 * time.Second) // less than the progress deadline
		synctest.Wait()
		if now, _ := state.Routes.Get(w.state.View(), "shop"); now.Generation != before.Generation {
			t.Errorf("the route was written while nothing could serve: %+v", now)
		}
		w.set(func() { w.away = false })
		w.rest("shop", 1, 2)
		w.until("a new route", func(v *state.View) bool {
			now, _ := state.Routes.Get(v, "shop")
			return now.Generation > recovery.Floor(v) && len(now.Pools) == 1 && len(now.Pools[0].Endpoints) == 2
		})
	})
}
