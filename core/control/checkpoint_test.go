package control_test

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/state"
)

func TestBackToACheckpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.apply(version("shop", 1, 3), version("paper", 1, 2), version("gallery", 1, 1))
		w.rest("shop", 1, 3)
		w.rest("paper", 1, 2)
		w.rest("gallery", 1, 1)
		_, err := w.ops.CreateCheckpoint(w.ctx, ann(), "good", core.Point{})
		w.must(err)
		good, _ := state.Checkpoints.Get(w.state.View(), "good")
		then := time.Now()

		<-time.After(time.Minute)
		w.apply(version("shop", 2, 5), version("latest", 1, 1))
		w.rest("shop", 2, 5)
		_, err = w.ops.Delete(w.ctx, ann(), "paper")
		w.must(err)
		w.until("paper gone", func(v *state.View) bool { return state.Services.Seq(v, "paper") == 0 })

		plan, err := w.ops.PlanReturn(w.ctx, core.Point{Checkpoint: "good"})
		w.must(err)
		actions := map[string]core.Action{}
		for _, sp := range plan.Plan.Services {
			actions[sp.Service] = sp.Action
		}
		if actions["shop"] != core.ActionReturn || actions["paper"] != core.ActionCreate || actions["gallery"] != core.ActionNone {
			t.Errorf("planned %v", actions)
		}
		if !slices.Equal(plan.Newer, []string{"latest"}) || plan.Seq != good.Seq {
			t.Errorf("plan %+v", plan)
		}
		before := w.state.View().Seq()
		if w.state.View().Seq() != before {
			t.Error("planning has written")
		}
		back, err := w.ops.Return(w.ctx, ann(), core.Point{Time: then}, true)
		w.must(err)
		if len(back.Rollouts) != 2 {
			t.Errorf("rollouts %v", back.Rollouts)
		}
		w.rest("shop", 1, 3)
		w.rest("paper", 1, 2)
		w.rest("gallery", 1, 1)
		w.until("late gone", func(v *state.View) bool { return state.Services.Seq(v, "latest") == 0 })
		r, _ := state.Rollouts.Get(w.state.View(), back.Rollouts[0])
		if !strings.HasPrefix(r.Reason, "back to ") {
			t.Errorf("reason %q", r.Reason)
		}
	})
}

func TestPointsThatAreNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.apply(version("shop", 1, 1))
		w.rest("shop", 1, 1)
		tests := []struct {
			name string
			at   core.Point
			code core.Code
		}{
			{"unknown", core.Point{Checkpoint: "none"}, core.CodeNotFound},
			{"future record", core.Point{Seq: 1 << 40}, core.CodeNotFound},
			{"before everything", core.Point{Time: time.Now().Add(-24 * 365 * time.Hour)}, core.CodeNotFound},
			{"two", core.Point{Seq: 1, Checkpoint: "x"}, core.CodeInvalid},
			{"nothing", core.Point{}, core.CodeInvalid},
		}
		for _, tt := range tests {
			if _, err := w.ops.PlanReturn(w.ctx, tt.at); core.CodeOf(err) != tt.code {
				t.Errorf("%s: %v, want %s", tt.name, err, tt.code)
			}
		}
		if _, err := w.ops.CreateCheckpoint(w.ctx, ann(), "Not A Name", core.Point{}); core.CodeOf(err) != core.CodeInvalid {
			t.Errorf("name: %v", err)
		}
		_, err := w.ops.CreateCheckpoint(w.ctx, ann(), "a", core.Point{Seq: 2})
		w.must(err)
		if _, err := w.ops.CreateCheckpoint(w.ctx, ann(), "a", core.Point{}); core.CodeOf(err) != core.CodeConflict {
			t.Errorf("twice: %v", err)
		}
		_, err = w.ops.DeleteCheckpoint(w.ctx, ann(), "a")
		w.must(err)
	})
}
