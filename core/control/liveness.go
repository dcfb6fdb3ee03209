package control

import (
	"context"
	"fmt"
	"time"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/heartbeat"
	"github.com/instarhq/instar/core/state"
)

const (
	// lookEvery is how often the leader looks who is silent.
	lookEvery = 250 * time.Millisecond
	// unreachableAfter is for how long a node may be silent. Right after an election it is twice that,
	// because the nodes have to find the new leader first.
	unreachableAfter = 3 * time.Second
	// steadyFor is for how long beats must have been coming from a node that was away before it counts as
	// ready again: a link that flaps must not move traffic with every flap.
	steadyFor = time.Second
	// settleLimit is how long a node that is back may take to find out what has become of its instances.
	settleLimit = 20 * time.Second
	// A storm is more than half of the nodes silent at once. Everything then takes stormFactor times as long:
	// it may be the leader that is cut off, and moving half of everything is an outage of its own.
	stormFactor = 3

	defaultNodeGrace = 30 * time.Second
)

// Liveness tells which nodes have been heard; heartbeat.Tracker implements it.
type Liveness interface {
	// Lead listens until ctx ends. Everybody is fresh when it begins.
	Lead(ctx context.Context)
	// Look tells what is known of a node; ok is false while nothing can be said of anybody.
	Look(node string) (sight heartbeat.Sight, ok bool)
	// Changed is readable after a node was heard of that had not been for a while.
	Changed() <-chan struct{}
}

// watchNodes writes node_status when a node's liveness changes, and leases when their holders do, until
// ctx ends.
func (c *Controller) watchNodes(ctx context.Context) {
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	leases := newLeaseKeeper(c)
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		case <-c.liveness.Changed():
		}
		if err := c.judgeNodes(ctx); err != nil && ctx.Err() == nil {
			c.log.Warn("the state of nodes cannot be written, trying again", "error", err)
		}
		if err := leases.keep(ctx); err != nil && ctx.Err() == nil {
			c.log.Warn("leases cannot be written, trying again", "error", err)
		}
	}
}

// judgeNodes writes all transitions there are now as one transaction.
func (c *Controller) judgeNodes(ctx context.Context) error {
	if len(c.transitions(c.state.View())) == 0 {
		return nil
	}
	meta := core.Meta{Principal: principal, Verb: "node.status"}
	_, err := c.state.Update(ctx, meta, func(tx *state.Tx) error {
		next := c.transitions(tx)
		for i := range next {
			tx.Describe("node."+string(next[i].State), next[i].Node+": "+next[i].Reason)
			state.NodeStatuses.Put(tx, next[i].Node, next[i])
		}
		return nil
	})
	return err
}

// transitions are the statuses of nodes whose liveness is another than the stored one. A node that has
// been removed is nobody's concern.
func (c *Controller) transitions(r state.Reader) []core.NodeStatus {
	sights := map[string]heartbeat.Sight{}
	now := c.now().UTC().Round(0)
	for _, name := range watched(r) {
		sight, ok := c.liveness.Look(name)
		if !ok {
			return nil
		}
		if m, ok := state.Members.Get(r, name); ok {
			sight.Silent = sinceJoined(sight.Silent, now.Sub(m.Joined))
		}
		sights[name] = sight
	}
	limits := limitsOf(r, sights)
	var out []core.NodeStatus
	for _, name := range sortedNames(sights) {
		sight := sights[name]
		old, _ := state.NodeStatuses.Get(r, name)
		next, reason := limits.judge(old, state.NodeStatuses.Seq(r, name), &sight, now)
		if next != "" {
			out = append(out, core.NodeStatus{Format: core.Format, Node: name, State: next, Since: now, Reason: reason})
		}
	}
	return out
}

// sinceJoined bounds a silence by how long the node has been a member: before that it had nothing to say. A
// clock that was set back bounds nothing.
func sinceJoined(silent, member time.Duration) time.Duration {
	if member < 0 {
		return silent
	}
	return min(silent, member)
}

// watched are the nodes that should be heard of: members, and those that have published themselves.
func watched(r state.Reader) []string {
	names := map[string]struct{}{}
	for name := range state.Nodes.All(r) {
		names[name] = struct{}{}
	}
	for name, m := range state.Members.All(r) {
		names[name] = struct{}{}
		if m.State == core.MemberRemoved {
			delete(names, name)
		}
	}
	return sortedNames(names)
}

// limits are how long silence may be.
type limits struct {
	unreachable, down time.Duration
	storm             bool
}

// limitsOf finds out whether there is a storm. Nodes that are down already do not count: they were lost
// one after the other.
func limitsOf(r state.Reader, sights map[string]heartbeat.Sight) limits {
	l := limits{unreachable: unreachableAfter, down: defaultNodeGrace}
	if cluster, ok := state.Clusters.Get(r, core.ClusterObject); ok && cluster.NodeGrace > 0 {
		l.down = cluster.NodeGrace.Std()
	}
	all, silent := 0, 0
	for name, sight := range sights {
		if s, _ := state.NodeStatuses.Get(r, name); s.State == core.NodeDown {
			continue
		}
		all++
		if sight.Silent > unreachableAfter {
			silent++
		}
	}
	if silent >= 2 && 2*silent > all {
		l.unreachable, l.down, l.storm = stormFactor*l.unreachable, stormFactor*l.down, true
	}
	return l
}

// judge gives the state that a node comes to, and why; empty: it stays as it is. written is the sequence
// number of the record that wrote old.
func (l limits) judge(old core.NodeStatus, written uint64, sight *heartbeat.Sight, _ time.Time) (next core.NodeState, reason string) {
	unreachable := l.unreachable
	if !sight.Heard {
		unreachable *= 2
	}
	silent := sight.Silent > unreachable
	text := fmt.Sprintf("no heartbeat for %s", sight.Silent.Round(100*time.Millisecond))
	if l.storm {
		text += ", as from most nodes"
	}
	switch old.State {
	case core.NodeUnreachable, core.NodeDown:
		switch {
		case l.back(written, sight):
			return core.NodeReady, "heard again"
		case old.State == core.NodeUnreachable && silent && sight.Silent > l.down:
			return core.NodeDown, text
		}
	default:
		if silent {
			return core.NodeUnreachable, text
		}
	}
	return "", ""
}

// back reports whether a node that was away is ready again: it is heard steadily, its agent has seen what
// was decided meanwhile, and it knows what has become of its instances.
func (l limits) back(written uint64, sight *heartbeat.Sight) bool {
	return sight.Heard && sight.Silent <= unreachableAfter && sight.Steady >= steadyFor && sight.Beat.Seq >= written &&
		(sight.Beat.Settled || sight.Steady > settleLimit)
}
