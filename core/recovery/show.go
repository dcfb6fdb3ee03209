package recovery

import (
	"reflect"
	"slices"
	"strings"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/state"
)

// Show puts together what the recovery has found and what an approval would do; CodeNotFound if there
// is none.
func Show(r state.Reader) (core.RecoveryView, error) {
	recovery, err := state.Recoveries.Find(r, core.RecoveryObject)
	if err != nil {
		return core.RecoveryView{}, core.Errorf(core.CodeNotFound, "there is no recovery under way").
			WithHint("one begins with a restore: instar snapshot restore")
	}
	v := core.RecoveryView{Recovery: recovery, Silent: Silent(r), Classes: map[core.Class]int{}}
	var newest uint64
	for id, l := range state.Lineages.All(r) {
		if seq := state.Lineages.Seq(r, id); seq > newest {
			newest, v.Restored = seq, &l
		}
	}
	for _, f := range state.Findings.All(r) {
		if f.Class == core.ClassListed {
			continue
		}
		v.Classes[f.Class]++
		v.Findings = append(v.Findings, f)
	}
	return v, nil
}

// Silent lists the compute targets that have not said what they have: those of the members that are there,
// which may have what the state knows nothing of, and those that the state places instances on, whether
// their nodes are there or not. Members that the restored state names and that are not there any more count
// until they are put out, or are down.
func Silent(r state.Reader) []string {
	listed, nodes := map[Target]bool{}, map[string]bool{}
	for _, f := range state.Findings.All(r) {
		if f.Class == core.ClassListed {
			listed[Target{f.Node, f.Driver, f.Target}] = true
			nodes[f.Node] = true
		}
	}
	for name, m := range state.Members.All(r) {
		if status, _ := state.NodeStatuses.Get(r, name); m.State == core.MemberActive && status.State != core.NodeDown {
			nodes[name] = true
		}
	}
	silent := map[string]bool{}
	add := func(t Target) {
		if !listed[t] {
			silent[t.Driver+"/"+t.Name+" on "+t.Node] = true
		}
	}
	for name := range nodes {
		node, ok := state.Nodes.Get(r, name)
		if !ok {
			silent["every target on "+name] = true // it has just joined, and has not said which it has
		}
		for _, t := range node.Targets {
			if t.Kind == core.DriverCompute && t.Scope == core.ScopeNode {
				add(Target{name, t.Driver, t.Name})
			}
		}
	}
	for id, inst := range state.Instances.All(r) {
		status, _ := state.InstanceStatuses.Get(r, id)
		if status.Phase >= core.InstanceRunning && !status.Phase.Over() {
			add(Target{inst.Node, inst.Driver, inst.Target})
		}
	}
	out := make([]string, 0, len(silent))
	for s := range silent {
		out = append(out, s)
	}
	slices.SortFunc(out, strings.Compare)
	return out
}

func equal(a, b *core.InstanceStatus) bool { return reflect.DeepEqual(a, b) }
