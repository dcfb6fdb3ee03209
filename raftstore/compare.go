package raftstore

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/raftstore/forward"
)

// Nodes compare their logs: the same records in the same order give the same root, so one that differs
// has lost, changed or invented something, and must neither answer nor lead any longer.

const comparePatience = 3 * time.Second

// compare checks this node against the leader.
func (s *Store) compare() {
	if leader, ok := s.leaderPeer(); ok {
		s.compareWith(leader)
	}
}

func (s *Store) compareWith(leader forward.Peer) {
	ctx, cancel := context.WithTimeout(s.stopping, comparePatience)
	defer cancel()
	mine, err := s.Head(ctx)
	if err != nil || mine.Size == 0 {
		return
	}
	theirs, err := s.config.Forward.Compare(ctx, leader, mine)
	if err != nil {
		s.config.Logger.Debug("the log was not compared", "with", leader.Node, "error", err)
		return
	}
	if differ(mine, theirs) {
		s.settle(mine)
	}
}

// differ reports whether two heads contradict each other.
func differ(a, b core.TreeHead) bool {
	return a.Origin == b.Origin && a.Size == b.Size && a.Root != b.Root
}

// compareFor answers a peer, and looks into a difference by itself: it may be this node that is wrong.
func (s *Store) compareFor(ctx context.Context, peer string, theirs core.TreeHead) (core.TreeHead, error) {
	if s.Seq() < theirs.Size || s.Origin() != theirs.Origin {
		return core.TreeHead{}, core.Errorf(core.CodeUnavailable, "node %q is at record %d of %s", s.config.Node, s.Seq(), s.Origin())
	}
	mine, err := s.HeadAt(ctx, theirs.Size)
	if err != nil {
		return mine, err
	}
	if differ(mine, theirs) {
		s.config.Logger.Error("another node's log differs from this one's", "peer", peer, "size", theirs.Size, "root", mine.Root, "theirs", theirs.Root)
		if s.IsLeader() {
			s.settling.Do(func() { s.settle(mine) })
		}
	}
	return mine, nil
}

// settle finds out who is wrong after a difference: every voter says what root it has at this size. The
// store stops if more of them have one certain other root than have its own; if that is a draw, it is the
// leader who is believed.
func (s *Store) settle(mine core.TreeHead) {
	ctx, cancel := context.WithTimeout(s.stopping, comparePatience)
	defer cancel()
	servers, err := s.servers()
	if err != nil {
		return
	}
	votes := make(map[core.Hash]int)
	for _, server := range servers {
		if server.Suffrage != raft.Voter {
			continue
		}
		if string(server.ID) == s.config.Node {
			votes[mine.Root]++
			continue
		}
		theirs, err := s.config.Forward.Compare(ctx, forward.Peer{Node: string(server.ID), Address: string(server.Address)}, mine)
		if err == nil && theirs.Origin == mine.Origin && theirs.Size == mine.Size {
			votes[theirs.Root]++
		}
	}
	for root, count := range votes {
		if root == mine.Root || count < votes[mine.Root] || count == votes[mine.Root] && s.IsLeader() {
			continue
		}
		s.fail(core.Errorf(core.CodeCorrupt, "the log of node %q has the root %s at record %d, %d other voters have %s: this node's state is not the cluster's",
			s.config.Node, mine.Root, mine.Size, count, root).WithHint(restoreHint))
		return
	}
}

// single runs one function at a time, in the background, and drops what is asked meanwhile.
type single struct{ busy atomic.Bool }

// Do runs fn unless the one before still runs.
func (s *single) Do(fn func()) {
	if !s.busy.CompareAndSwap(false, true) {
		return
	}
	go func() {
		defer s.busy.Store(false)
		fn()
	}()
}
