package api

import (
	"cmp"
	"maps"
	"slices"
	"sort"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/state"
)

// serviceView joins a service with the state of its instances and its newest rollout.
func (s *server) serviceView(v *state.View, svc core.Service) core.ServiceView {
	out := core.ServiceView{Service: svc}
	if rev, ok := state.Revisions.Get(v, core.RevisionID(svc.Name, max(svc.Active, svc.Revision))); ok {
		out.Routes = rev.Spec.Routes
	}
	newest, rolled := state.Rollouts.Get(v, core.RolloutID(svc.Name, svc.Rollouts))
	serving := append(newest.ServeToo(), svc.Active)
	for id, inst := range state.Instances.By(v, state.ByService, svc.Name) {
		if !slices.Contains(serving, inst.Revision) || inst.Desired != core.DesiredRun {
			continue
		}
		status, ok := state.InstanceStatuses.Get(v, id)
		if ok && status.Phase == core.InstanceRunning {
			out.Running++
		}
		if ok && status.Healthy {
			out.Healthy++
		} else if t, is := trouble(inst, status); is {
			out.Troubles = append(out.Troubles, t)
		}
	}
	if rolled {
		view := s.rolloutView(v, newest)
		out.Rollout = &view
	}
	return out
}

// rolloutView computes where a rollout stands.
func (s *server) rolloutView(v *state.View, r core.Rollout) core.RolloutView {
	out := core.RolloutView{Rollout: r}
	p := &out.Progress
	svc, ok := state.Services.Get(v, r.Service)
	if !ok {
		return out
	}
	p.Wanted = svc.Count
	s.countInstances(v, r, p)
	if r.Phase.Over() {
		return out
	}
	confirmations(v, r.Service, p)
	for _, c := range state.Checks.By(v, state.ByParent, r.ID()) {
		p.Passed += c.Passed
		p.Total += c.Total
	}
	if rev, ok := state.Revisions.Get(v, core.RevisionID(r.Service, r.To)); ok && r.Phase == core.RolloutBaking {
		p.BakeUntil = r.PhaseAt.Add(rev.Spec.Rollout.Bake.Std())
	}
	if r.Phase == core.RolloutRetiring {
		p.KeepUntil = svc.KeepUntil
	}
	p.Waiting = s.Waiting(v, r.Service)
	return out
}

func (s *server) countInstances(v *state.View, r core.Rollout, p *core.Progress) {
	nodes, older := map[string]bool{}, r.ServeToo()
	fetches := map[core.NodeFetch]bool{}
	for id, inst := range state.Instances.By(v, state.ByService, r.Service) {
		status, _ := state.InstanceStatuses.Get(v, id)
		switch {
		case inst.Revision != r.To && inst.Desired == core.DesiredRun && slices.Contains(older, inst.Revision):
			p.Left++
		case inst.Revision == r.From && inst.Desired == core.DesiredRun && status.Healthy && r.Rolling == nil:
			p.Warm++
		case inst.Revision == r.To:
			if inst.Desired == core.DesiredRun && status.Phase == core.InstanceRunning {
				p.Created++
				nodes[inst.Node] = true
			}
			if inst.Desired == core.DesiredRun && status.Fetch != nil {
				fetches[core.NodeFetch{Node: inst.Node, Target: inst.Target, Fetch: *status.Fetch}] = true
			}
			if inst.Desired == core.DesiredRun && status.Healthy {
				p.Healthy++
			} else if t, is := trouble(inst, status); is && !r.Phase.Over() {
				p.Troubles = append(p.Troubles, t)
			}
		}
	}
	if r.Rolling != nil && !r.SwitchedAt.IsZero() && !r.Phase.Over() {
		p.Replaced = min(p.Healthy, p.Wanted)
	}
	for n := range nodes {
		p.Nodes = append(p.Nodes, n)
	}
	slices.Sort(p.Nodes)
	p.Fetches = slices.SortedFunc(maps.Keys(fetches), func(a, b core.NodeFetch) int {
		return cmp.Or(cmp.Compare(a.Node, b.Node), cmp.Compare(a.Target, b.Target), cmp.Compare(a.Done, b.Done))
	})
}

// trouble says what is wrong with an instance, if the agent has reported anything.
func trouble(inst core.Instance, status core.InstanceStatus) (core.Trouble, bool) {
	t := core.Trouble{Instance: inst.ID, Node: inst.Node}
	switch {
	case status.Failure != nil:
		t.Message, t.Logs = status.Failure.Message, status.Failure.Logs
	case status.Unhealthy != "":
		t.Message = status.Unhealthy
	default:
		return t, false
	}
	return t, true
}

// confirmations sorts the traffic targets of a service by whether they have the present generations.
func confirmations(v *state.View, service string, p *core.Progress) {
	behind := map[string]bool{}
	for _, route := range state.Routes.By(v, state.ByService, service) {
		for _, nt := range trafficTargets(v, route.Spec) {
			status, ok := state.RouteStatuses.Get(v, core.RouteStatusID(route.Name, nt.Node, nt.Target.Name))
			name := nt.Node + "/" + nt.Target.Name
			behind[name] = behind[name] || !ok || status.Generation < route.Generation
		}
	}
	for name, late := range behind {
		if late {
			p.Pending = append(p.Pending, name)
		} else {
			p.Confirmed = append(p.Confirmed, name)
		}
	}
	sort.Strings(p.Pending)
	sort.Strings(p.Confirmed)
}

// trafficTargets lists the healthy targets that carry a route.
func trafficTargets(v *state.View, route core.RouteSpec) []core.NodeTarget {
	var out []core.NodeTarget
	for name, node := range state.Nodes.All(v) {
		for _, t := range node.Targets {
			if t.Kind == core.DriverTraffic && t.Driver == route.Driver && t.Healthy && (route.Target == "" || route.Target == t.Name) {
				out = append(out, core.NodeTarget{Node: name, Target: t})
			}
		}
	}
	return out
}
