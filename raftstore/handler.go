package raftstore

import (
	"context"
	"time"

	"github.com/hashicorp/raft"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/audit"
	"github.com/instarhq/instar/raftstore/forward"
	"github.com/instarhq/instar/raftstore/fsm"
)

// Handler answers what other nodes ask this one: give it to a forward.Server.
func (s *Store) Handler() forward.Handler { return handler{s} }

type handler struct{ store *Store }

// Propose implements forward.Handler. A request that came to a node which does not lead goes back: its
// sender knows better by then, or waits.
func (h handler) Propose(txn core.Txn, until time.Time, done func(core.Receipt, error)) {
	err := audit.Check(&txn)
	if err == nil {
		_, err = h.store.queue.add(txn, until, func(outcome fsm.Outcome) { done(outcome.Receipt, outcome.Err) })
	}
	if core.CodeOf(err) == core.CodeNotLeader {
		err = h.store.notLeader()
	}
	if err != nil {
		done(core.Receipt{}, err)
	}
}

// ReadIndex implements forward.Handler.
func (h handler) ReadIndex(ctx context.Context) (uint64, error) { return h.store.readIndexHere(ctx) }

// Progress implements forward.Handler.
func (h handler) Progress() forward.Progress { return h.store.Progress() }

// Compare implements forward.Handler.
func (h handler) Compare(ctx context.Context, peer string, head core.TreeHead) (core.TreeHead, error) {
	return h.store.compareFor(ctx, peer, head)
}

// Progress says how far this node is.
func (s *Store) Progress() forward.Progress {
	p := forward.Progress{
		Node: s.config.Node, Leader: s.Leader(), Term: s.raft.CurrentTerm(),
		LogLast: s.raft.LastIndex(), Committed: s.raft.CommitIndex(), Applied: s.raft.AppliedIndex(), Seq: s.Seq(),
	}
	if s.raft.State() != raft.Leader {
		p.Contact = -1
		if last := s.raft.LastContact(); !last.IsZero() {
			p.Contact = time.Since(last)
		}
	}
	return p
}
