package rollout

import "github.com/instarhq/instar/core"

// Node is what is known of a node that instances are on. The zero Node is as it should be.
type Node struct {
	State NodeState
	Since string // what its state follows from, in words: "unreachable since 14:03:07 UTC"
	// Leave says why its instances are to be moved elsewhere: "node n2 is drained"; empty: they stay.
	Leave string
}

// NodeState is how far a node has gone.
type NodeState int

// The states of a node, the better ones first.
const (
	// NodeReady: its agent answers.
	NodeReady NodeState = iota
	// NodeUnreachable: it does not, for a moment. What it runs may well serve, but nobody watches it.
	NodeUnreachable
	// NodeDown: it does not answer for so long that what it runs is replaced elsewhere.
	NodeDown
	// NodeRemoved: it is no member any more. Nobody will ever act for what it ran.
	NodeRemoved
)

// Compute names a compute target wherever it is configured.
type Compute struct{ Driver, Target string }

// node is what is known of the node that an instance lives and dies with. What a target of cluster scope
// made does so with none: the node of such an instance is the one whose agent looks after it.
func (v *View) node(inst *core.Instance) Node {
	if len(v.Nodes) == 0 || v.Shared[Compute{inst.Driver, inst.Target}] {
		return Node{}
	}
	return v.Nodes[inst.Node]
}

// removed reports whether nothing will ever be heard of the instance again.
func (v *View) removed(inst *Instance) bool { return v.node(&inst.Instance).State == NodeRemoved }

// whyAway says why an instance is to go for the sake of its node.
func (p *planner) whyAway(i int) string {
	inst := &p.v.Instances[i]
	n := p.v.node(&inst.Instance)
	if n.State == NodeReady {
		return n.Leave
	}
	return "node " + inst.Node + " is " + n.Since
}

// leaveNode takes instances out of traffic for the sake of their nodes.
func (p *planner) leaveNode(indexes []int) {
	for _, i := range indexes {
		p.leave([]int{i}, p.whyAway(i))
	}
}

// stuck names the first instance that cannot end because its node does not answer, in brackets; empty if
// there is none.
func (p *planner) stuck() string {
	for i := range p.v.Instances {
		inst := &p.v.Instances[i]
		if n := p.v.node(&inst.Instance); n.State != NodeReady {
			return " (" + inst.ID + ": node " + inst.Node + " is " + n.Since + ")"
		}
	}
	return ""
}
