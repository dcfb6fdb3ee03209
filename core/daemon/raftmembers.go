package daemon

import (
	"context"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/cluster"
	"github.com/instarhq/instar/raftstore"
)

// raftMembers is the store as membership sees it. A node's address in Raft is its name.
type raftMembers struct{ *raftstore.Store }

// Servers implements cluster.Raft.
func (r raftMembers) Servers() ([]cluster.Server, error) {
	servers, err := r.Store.Servers()
	out := make([]cluster.Server, len(servers))
	for i, s := range servers {
		out[i] = cluster.Server{Node: s.Name, Voter: s.Voter}
	}
	return out, err
}

// AddNonvoter implements cluster.Raft.
func (r raftMembers) AddNonvoter(ctx context.Context, node string) error {
	return r.Store.AddNonvoter(ctx, node, node)
}

// AddVoter implements cluster.Raft.
func (r raftMembers) AddVoter(ctx context.Context, node string) error { return r.Promote(ctx, node) }

// Replica implements cluster.Raft.
func (r raftMembers) Replica() core.Replica {
	stats := r.Stats()
	return core.Replica{Origin: r.Origin(), State: stats.State, Term: stats.Term, Leader: stats.Leader, Seq: stats.Seq}
}
