package notice

import (
	"strconv"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/state"
)

func number(n int) string { return strconv.Itoa(n) }

// liveness tells what the leader has seen of a node.
func (w *writer) liveness() {
	now, ok := written(w, state.NodeStatuses)
	if !ok {
		return
	}
	before := old[core.NodeStatus](w)
	was := core.NodeReady // which is what a node without a status is
	if before != nil {
		was = before.State
	}
	if was == now.State {
		return
	}
	about := core.Notice{Node: now.Node}
	switch now.State {
	case core.NodeUnreachable:
		w.say(core.TopicNode, warning, about, "node %s is unreachable: its instances leave the routes%s", now.Node, because(now.Reason))
	case core.NodeDown:
		w.say(core.TopicNode, critical, about, "node %s is down: its instances are replaced elsewhere%s", now.Node, because(now.Reason))
	default:
		w.say(core.TopicNode, notable, about, "node %s is back%s", now.Node, because(now.Reason))
	}
}

// node tells of drivers that come and go, and of another version.
func (w *writer) node() {
	now, ok := written(w, state.Nodes)
	if !ok {
		return
	}
	before := old[core.Node](w)
	about := core.Notice{Node: now.Name}
	healthy := map[string]bool{}
	if before != nil {
		if before.Version != now.Version {
			w.say(core.TopicNode, notable, about, "node %s runs instard %s; it was %s", now.Name, now.Version, before.Version)
		}
		for _, t := range before.Targets {
			healthy[target(&t)] = t.Healthy
		}
	}
	for _, t := range now.Targets {
		was, known := healthy[target(&t)]
		switch {
		case !t.Healthy && (was || !known):
			w.say(core.TopicDriver, warning, about, "%s on %s is not healthy%s", target(&t), now.Name, because(t.Reason))
		case t.Healthy && known && !was:
			w.say(core.TopicDriver, notable, about, "%s on %s is healthy", target(&t), now.Name)
		}
	}
}

func target(t *core.Target) string {
	return string(t.Kind) + " " + t.Driver + " " + strconv.Quote(t.Name)
}

func (w *writer) member() {
	now, ok := written(w, state.Members)
	if !ok {
		return
	}
	before := old[core.Member](w)
	about := core.Notice{Node: now.Name}
	if before == nil {
		w.say(core.TopicMember, notable, about, "node %s has joined as a %s, at %s", now.Name, now.Role, now.Address)
		return
	}
	switch {
	case before.State == now.State:
	case now.State == core.MemberLeaving:
		w.say(core.TopicMember, notable, about, "node %s is leaving the cluster%s", now.Name, because(now.Reason))
	case now.State == core.MemberRemoved:
		w.say(core.TopicMember, warning, about, "node %s is removed from the cluster%s", now.Name, because(now.Reason))
	default:
		w.say(core.TopicMember, notable, about, "node %s is a member again, as a %s", now.Name, now.Role)
	}
	switch {
	case before.Drain == nil && now.Drain != nil:
		w.say(core.TopicMember, notable, about, "node %s is being emptied, as %s has asked%s", now.Name, now.Drain.By, because(now.Drain.Reason))
	case before.Drain != nil && now.Drain == nil:
		w.say(core.TopicMember, notable, about, "node %s takes instances again", now.Name)
	}
}

func (w *writer) lease() {
	now, ok := written(w, state.Leases)
	if !ok {
		return
	}
	before := old[core.Lease](w)
	if before != nil && before.Node == now.Node || before == nil && now.Node == "" {
		return
	}
	what := now.Kind + " " + now.Driver + " " + strconv.Quote(now.Target)
	about := core.Notice{Node: now.Node}
	switch {
	case now.Node == "":
		w.say(core.TopicLease, notable, about, "nobody acts on %s now; it was %s", what, before.Node)
	case before != nil && before.Node != "":
		w.say(core.TopicLease, notable, about, "%s acts on %s now; it was %s", now.Node, what, before.Node)
	default:
		w.say(core.TopicLease, notable, about, "%s acts on %s now", now.Node, what)
	}
}

func (w *writer) schedule() {
	now, ok := written(w, state.Schedules)
	if !ok {
		return
	}
	before := old[core.Schedule](w)
	failed := before != nil && before.Failing != nil
	switch {
	case now.Failing != nil && (!failed || before.Failing.Error != now.Failing.Error):
		w.say(core.TopicSnapshot, warning, core.Notice{}, "snapshots of the schedule %s fail: %s", now.Name, now.Failing.Error)
	case now.Failing == nil && failed:
		w.say(core.TopicSnapshot, notable, core.Notice{}, "snapshots of the schedule %s work again", now.Name)
	}
}

func (w *writer) recovery() {
	if w.op.Delete {
		w.say(core.TopicRecovery, notable, core.Notice{}, "what runs agrees with what was restored")
		return
	}
	now, ok := written(w, state.Recoveries)
	if !ok {
		return
	}
	before := old[core.Recovery](w)
	switch {
	case before == nil || !before.Since.Equal(now.Since):
		w.say(core.TopicRecovery, critical, core.Notice{}, "the cluster was restored from a snapshot, and only looks until the plan is approved: instar recovery show")
	case before.Approved.IsZero() && !now.Approved.IsZero():
		w.say(core.TopicRecovery, notable, core.Notice{}, "the plan of the recovery was approved by %s", now.By)
	}
}
