package control

import (
	"slices"
	"strings"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/state"
)

// checkLevel refuses what some member could not read yet. A node that is a cluster of its own reads all that
// it writes.
func checkLevel(r state.Reader, service string, s *core.Spec) error {
	cluster, there := state.Clusters.Get(r, core.ClusterObject)
	if !there || s.Rollout.Strategy != core.StrategyRolling || cluster.Level >= core.LevelRolling {
		return nil
	}
	var old []string
	for name, m := range state.Members.All(r) {
		if node, known := state.Nodes.Get(r, name); m.State != core.MemberRemoved && (!known || node.Level < core.LevelRolling) {
			old = append(old, name)
		}
	}
	slices.Sort(old)
	e := core.Errorf(core.CodeUnsupported, "service %q: the strategy %q needs stored formats of level %d, and the cluster is at level %d",
		service, core.StrategyRolling, core.LevelRolling, cluster.Level).WithObject(core.KindService, service)
	if len(old) == 0 {
		return e.WithHint("every member reads them: the leader raises the level within a moment, then apply again")
	}
	return e.WithHint("install the newest instard on %s, then apply again", strings.Join(old, ", "))
}
