package cluster

import (
	"strings"
	"time"

	"github.com/instarhq/instar/core"
)

// agents are the kinds of objects that the agent of any node writes.
var agents = map[core.Kind]bool{
	core.KindNode: true, core.KindDriver: true, core.KindInstanceStatus: true, core.KindRouteStatus: true,
	core.KindCheck: true, core.KindFinding: true,
}

// ownPrefix are those of them whose id begins with the node's name.
var ownPrefix = map[core.Kind]bool{core.KindDriver: true, core.KindFinding: true}

// Authorize refuses a transaction that a member may not propose. What an agent reports it may; what is decided for the
// cluster is decided on the leader, and only a node that has led until a moment ago tries to send it.
func Authorize(peer string, txn *core.Txn) error {
	for i := range txn.Ops {
		op := &txn.Ops[i]
		own := true
		switch {
		case op.Kind == core.KindNode:
			own = op.ID == peer
		case ownPrefix[op.Kind]:
			own = strings.HasPrefix(op.ID, peer+"/")
		}
		if !agents[op.Kind] || !own {
			e := core.Errorf(core.CodeUnavailable, "node %q may not write %s %q: that is decided on the leader", peer, op.Kind, op.ID).
				WithHint("repeat the request")
			e.RetryAfter = 100 * time.Millisecond
			return e
		}
	}
	txn.Meta.Principal, txn.Meta.Origin = "agent:"+peer, peer
	return nil
}
