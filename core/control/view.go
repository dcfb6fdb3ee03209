package control

import (
	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/rollout"
	"github.com/instarhq/instar/core/state"
)

// viewOf collects what the planner looks at; false if the service does not exist. seq is that of r.
func viewOf(r state.Reader, name string, seq uint64) (rollout.View, bool) {
	return viewWith(r, name, seq, func(expected int) []rollout.Instance { return instancesOf(r, name, expected) })
}

// viewWith is viewOf with another source of the instances, which is told about how many there are.
func viewWith(r state.Reader, name string, seq uint64, instances func(expected int) []rollout.Instance) (rollout.View, bool) {
	v := rollout.View{Seq: seq, Specs: map[int]*core.Spec{}}
	var ok bool
	if v.Service, ok = state.Services.Get(r, name); !ok {
		return v, false
	}
	if n := v.Service.Rollouts; n > 0 {
		if newest, ok := state.Rollouts.Get(r, core.RolloutID(name, n)); ok {
			v.Rollout = &newest
			for _, c := range state.Checks.By(r, state.ByParent, newest.ID()) {
				v.Checks = append(v.Checks, c)
			}
			addSpec(r, &v, newest.From)
			addSpec(r, &v, newest.To)
		}
	}
	addSpec(r, &v, v.Service.Active)
	addSpec(r, &v, v.Service.Revision)
	expected := v.Service.Count
	if v.Rollout != nil {
		expected += v.Rollout.FromCount
	}
	v.Instances = instances(expected)
	for i := range v.Instances {
		addSpec(r, &v, v.Instances[i].Revision)
	}
	for _, route := range state.Routes.By(r, state.ByService, name) {
		with := rollout.Route{Route: route}
		for _, s := range state.RouteStatuses.By(r, state.ByParent, route.Name) {
			with.Statuses = append(with.Statuses, s)
		}
		v.Routes = append(v.Routes, with)
	}
	v.Targets, v.Nodes, v.Shared = trafficTargets(r), nodesOf(r), sharedOf(r)
	v.Floor, v.Hold = afterRestore(r, &v)
	return v, true
}

func addSpec(r state.Reader, v *rollout.View, revision int) {
	if revision == 0 || v.Specs[revision] != nil {
		return
	}
	if rev, ok := state.Revisions.Get(r, core.RevisionID(v.Service.Name, revision)); ok {
		v.Specs[revision] = &rev.Spec
	}
}
