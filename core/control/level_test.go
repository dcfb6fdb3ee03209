package control_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/state"
)

// As long as a member reads no rolling rollouts, none begins: neither planned nor applied.
func TestRollingWaitsForTheLevel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		level := func(cluster, n2 int) {
			w.update("leader", func(tx *state.Tx) {
				state.Clusters.Put(tx, core.ClusterObject, core.Cluster{Format: core.Format, Level: cluster})
				for name, reads := range map[string]int{"n1": core.Level, "n2": n2} {
					state.Members.Put(tx, name, core.Member{Format: core.Format, Name: name, State: core.MemberActive})
					node, _ := state.Nodes.Get(tx, name)
					node.Format, node.Name, node.Level = core.Format, name, reads
					state.Nodes.Put(tx, name, node)
				}
			})
		}
		set := core.Set{Services: []core.Declared{rolling(1, 2)}}
		refused := func(hint string) {
			t.Helper()
			_, planned := w.ops.Plan(w.ctx, set)
			_, applied := w.ops.Apply(w.ctx, ann(), set, nil)
			for _, err := range []error{planned, applied} {
				e, _ := core.AsError(err)
				if core.CodeOf(err) != core.CodeUnsupported || !strings.Contains(e.Message, `the strategy "rolling" needs stored formats of level 2`) || !strings.Contains(e.Hint, hint) {
					t.Errorf("%v: %+v", err, e)
				}
			}
		}
		level(1, 0)
		refused("install the newest instard on n2")
		level(1, core.Level)
		refused("the leader raises the level within a moment")
		w.apply(version("shop", 1, 2))
		level(core.LevelRolling, core.Level)
		w.rest("shop", 1, 2)
		w.apply(rolling(2, 2))
		w.rest("shop", 2, 2)
	})
}

// rolling is a version of the shop with the strategy rolling.
func rolling(v, count int) core.Declared {
	d := version("shop", v, count)
	d.Spec.Rollout = core.RolloutSpec{
		Strategy: core.StrategyRolling, Bake: core.Duration(time.Second), ProgressDeadline: d.Spec.Rollout.ProgressDeadline, MaxSurge: "1", MaxUnavailable: "0",
	}
	return d
}
