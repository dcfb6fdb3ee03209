package control

import (
	"context"
	"time"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/rollout"
	"github.com/instarhq/instar/core/state"
)

// DrainNode has a node emptied: nothing new is placed on it, and what it runs is made elsewhere first, and
// then goes. With undo the node takes instances again; what has moved does not come back.
func (o *Operations) DrainNode(ctx context.Context, meta core.Meta, node string, undo bool) (core.Applied, error) {
	receipt, err := o.state.Update(ctx, meta, func(tx *state.Tx) error {
		m, ok := state.Members.Get(tx, node)
		switch {
		case !ok || m.State == core.MemberRemoved:
			return noMember(tx, node)
		case undo && m.Drain == nil, !undo && m.Drain != nil:
			return nil
		case undo && m.State == core.MemberLeaving:
			return core.Errorf(core.CodeConflict, "node %q is leaving the cluster", node).WithObject(core.KindMember, node).
				WithHint("it cannot stay any more; it may join again")
		}
		m.Drain = nil
		if !undo {
			m.Drain = &core.Drain{Since: o.now().UTC().Round(0), By: meta.Principal, Reason: meta.Reason}
		}
		state.Members.Put(tx, node, m)
		return nil
	})
	if err != nil {
		return core.Applied{}, err
	}
	return core.Applied{Receipt: receipt}, nil
}

// noMember says why a node cannot be drained. One that is a cluster of its own has no member object, and
// nowhere for its instances to go.
func noMember(r state.Reader, node string) error {
	if _, alone := state.Nodes.Get(r, node); alone && !removed(r, node) {
		return core.Errorf(core.CodeConflict, "node %q is a cluster of its own: there is no other node for its instances", node).
			WithObject(core.KindNode, node).WithHint("take services down with `instar service scale SERVICE 0`, or make it part of a cluster")
	}
	return core.Errorf(core.CodeNotFound, "the cluster has no node %q", node).WithObject(core.KindMember, node).
		WithHint("`instar node list` shows those there are")
}

// Drained says how far the emptying of a node has come. What belongs to targets of cluster scope does not
// count: it stays where it is, and another node looks after it.
func Drained(view *state.View, node string, now time.Time) (core.DrainView, error) {
	m, member := state.Members.Get(view, node)
	if _, known := state.Nodes.Get(view, node); !known && !member {
		return core.DrainView{}, noMember(view, node)
	}
	out := core.DrainView{Node: node, Drain: m.Drain, Left: []core.DrainLeft{}}
	shared, left := sharedOf(view), map[string]*core.DrainLeft{}
	for _, inst := range state.Instances.By(view, state.ByNode, node) {
		if shared[rollout.Compute{Driver: inst.Driver, Target: inst.Target}] {
			continue
		}
		if left[inst.Service] == nil {
			left[inst.Service] = &core.DrainLeft{Service: inst.Service}
		}
		left[inst.Service].Instances++
		if inst.Desired != core.DesiredRun {
			left[inst.Service].Ending++
		}
	}
	for _, service := range sortedNames(left) {
		if out.Drain != nil {
			left[service].Waiting = Waiting(view, service, now)
		}
		out.Left = append(out.Left, *left[service])
	}
	out.Done = out.Drain != nil && len(out.Left) == 0
	return out, nil
}
