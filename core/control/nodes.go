package control

import (
	"time"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/place"
	"github.com/instarhq/instar/core/rollout"
	"github.com/instarhq/instar/core/state"
)

// nodesOf says what is wrong with nodes; those that are as they should be are not in it.
func nodesOf(r state.Reader) map[string]rollout.Node {
	var out map[string]rollout.Node
	change := func(name string, edit func(*rollout.Node)) {
		if out == nil {
			out = map[string]rollout.Node{}
		}
		n := out[name]
		edit(&n)
		out[name] = n
	}
	for name, s := range state.NodeStatuses.All(r) {
		if s.State == core.NodeUnreachable || s.State == core.NodeDown {
			change(name, func(n *rollout.Node) {
				n.State, n.Since = rollout.NodeUnreachable, stateText(&s)
				if s.State == core.NodeDown {
					n.State = rollout.NodeDown
				}
			})
		}
	}
	for name, m := range state.Members.All(r) {
		switch {
		case m.State == core.MemberRemoved:
			change(name, func(n *rollout.Node) {
				*n = rollout.Node{State: rollout.NodeRemoved, Since: "removed from the cluster"}
			})
		case m.Drain != nil:
			change(name, func(n *rollout.Node) { n.Leave = drainText(&m) })
		}
	}
	return out
}

func stateText(s *core.NodeStatus) string {
	return string(s.State) + " since " + s.Since.UTC().Format(time.TimeOnly+" MST")
}

func drainText(m *core.Member) string {
	text := "node " + m.Name + " is drained"
	if m.Drain.Reason != "" {
		text += ": " + m.Drain.Reason
	}
	return text
}

// closed says why nothing new is placed on a node: "draining"; empty: it takes instances.
func closed(r state.Reader, node string) string {
	if s, ok := state.NodeStatuses.Get(r, node); ok && s.State != core.NodeReady {
		return string(s.State)
	}
	switch m, ok := state.Members.Get(r, node); {
	case ok && m.State == core.MemberLeaving:
		return "leaving"
	case ok && m.State != core.MemberActive:
		return string(m.State)
	case ok && m.Drain != nil:
		return "draining"
	}
	return ""
}

// removed reports whether a node is no member any more. Its objects may still be there.
func removed(r state.Reader, node string) bool {
	m, ok := state.Members.Get(r, node)
	return ok && m.State == core.MemberRemoved
}

// sharedOf are the compute targets of cluster scope. There is a lease for each, also while nobody holds it,
// before anything is placed there.
func sharedOf(r state.Reader) map[rollout.Compute]bool {
	var out map[rollout.Compute]bool
	for _, l := range state.Leases.All(r) {
		if l.Kind != string(core.DriverCompute) {
			continue
		}
		if out == nil {
			out = map[rollout.Compute]bool{}
		}
		out[rollout.Compute{Driver: l.Driver, Target: l.Target}] = true
	}
	return out
}

// trafficTargets are the targets that carry routes: every node's, and one node's of each that the whole
// cluster shares.
func trafficTargets(r state.Reader) []rollout.Target {
	var out []rollout.Target
	orphaned := map[string]rollout.Target{} // shared ones that nobody acts for now
	for name, node := range state.Nodes.All(r) {
		if removed(r, name) {
			continue
		}
		status, _ := state.NodeStatuses.Get(r, name)
		for _, t := range node.Targets {
			if t.Kind != core.DriverTraffic {
				continue
			}
			target := rollout.Target{Node: name, Driver: t.Driver, Name: t.Name, Healthy: t.Healthy, Reason: t.Reason}
			if status.State == core.NodeUnreachable || status.State == core.NodeDown {
				target.Healthy, target.Reason = false, "the node is "+stateText(&status)
			}
			if t.Scope == core.ScopeCluster {
				id := core.LeaseID(core.DriverTraffic, t.Driver, t.Name)
				if lease, _ := state.Leases.Get(r, id); lease.Node != name {
					if lease.Node == "" {
						orphaned[id] = rollout.Target{Driver: t.Driver, Name: t.Name, Reason: "no node has its lease yet"}
					}
					continue
				}
			}
			out = append(out, target)
		}
	}
	for _, id := range sortedNames(orphaned) {
		out = append(out, orphaned[id])
	}
	return out
}

// computeTargets are the targets that could get instances: every node's, and the holder's of each that the
// whole cluster shares.
func computeTargets(r state.Reader) []place.Target {
	var out []place.Target
	for name, node := range state.Nodes.All(r) {
		if removed(r, name) {
			continue
		}
		why := closed(r, name)
		for _, t := range node.Targets {
			if t.Kind != core.DriverCompute {
				continue
			}
			if t.Scope == core.ScopeCluster && !holds(r, name, &t) {
				continue
			}
			out = append(out, place.Target{
				Key:     place.Key{Node: name, Driver: t.Driver, Name: t.Name},
				Healthy: t.Healthy, Reason: t.Reason, Closed: why, Labels: node.Labels, Version: t.Version, Capacity: t.Capacity,
			})
		}
	}
	return out
}

// holds reports whether a node has the lease of a target of cluster scope.
func holds(r state.Reader, node string, t *core.Target) bool {
	lease, ok := state.Leases.Get(r, core.LeaseID(t.Kind, t.Driver, t.Name))
	return ok && lease.Node == node
}
