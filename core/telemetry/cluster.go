package telemetry

import (
	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/state"
)

var (
	nodeState    = gauge("instar_node_state", "1 for the liveness that the leader has noted of a node, 0 for the others. From the leader only.", "node", "state")
	nodeDraining = gauge("instar_node_draining", "Whether a node is being emptied. From the leader only.", "node")
	nodeBeat     = gauge("instar_node_heartbeat_age_seconds", "How long ago the leader has heard a heartbeat of a node, or has begun to lead. From the leader only.", "node")
	members      = gauge("instar_cluster_members", "Members that are not removed, by role and state. From the leader only.", "role", "state")
	leaseHeld    = gauge("instar_lease_held", "1 for the node that acts on a cluster-scoped target; 0 with an empty node: nobody does. From the leader only.", "kind", "driver", "target", "node")

	snapshotLast     = gauge("instar_snapshot_last_success_timestamp_seconds", "When a schedule's newest snapshot was taken. From the leader only.", "schedule")
	snapshotBytes    = gauge("instar_snapshot_last_size_bytes", "Size of a schedule's newest snapshot. From the leader only.", "schedule")
	snapshotInterval = gauge("instar_snapshot_interval_seconds", "How often a schedule is to take a snapshot. From the leader only.", "schedule")
	snapshotFailing  = gauge("instar_snapshot_failing", "Whether a schedule's newest attempt failed. From the leader only.", "schedule")

	recoveryActive = gauge("instar_recovery_active", "1 from a restore until what runs agrees with what was restored. From the leader only.")
)

var nodeStates = []core.NodeState{core.NodeReady, core.NodeUnreachable, core.NodeDown}

// clusterFigures are what the cluster's state says.
func (o out) clusterFigures(s *Sources) {
	view := s.View()
	o.services(view)
	o.routes(view)
	o.nodes(s, view)
	for _, l := range state.Leases.All(view) {
		o.flag(leaseHeld, l.Node != "", l.Kind, l.Driver, l.Target, l.Node)
	}
	for name, sched := range state.Schedules.All(view) {
		o.put(snapshotInterval, sched.Every.Std().Seconds(), name)
		o.flag(snapshotFailing, sched.Failing != nil, name)
		if sched.Last != nil {
			o.moment(snapshotLast, sched.Last.Time, name)
			o.put(snapshotBytes, float64(sched.Last.Bytes), name)
		}
	}
	_, recovering := state.Recoveries.Get(view, core.RecoveryObject)
	o.flag(recoveryActive, recovering)
}

// nodes puts what is known of the members, or of the one node of a cluster of its own.
func (o out) nodes(s *Sources, view *state.View) {
	type membership struct {
		role  core.Role
		state core.MemberState
	}
	count := map[membership]int{}
	for _, m := range state.Members.All(view) {
		if m.State != core.MemberRemoved {
			count[membership{m.Role, m.State}]++
		}
	}
	for m, n := range count {
		o.put(members, float64(n), string(m.role), string(m.state))
	}
	for name := range state.Nodes.All(view) {
		member, there := state.Members.Get(view, name)
		if there && member.State == core.MemberRemoved {
			continue
		}
		status, noted := state.NodeStatuses.Get(view, name)
		if !noted {
			status.State = core.NodeReady
		}
		for _, st := range nodeStates {
			o.flag(nodeState, status.State == st, name, string(st))
		}
		o.flag(nodeDraining, member.Drain != nil, name)
		if s.Look != nil {
			if sight, ok := s.Look(name); ok {
				o.put(nodeBeat, sight.Silent.Seconds(), name)
			}
		}
	}
}
