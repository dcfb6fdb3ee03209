package raftstore

import (
	"context"
	"errors"
	"time"

	"github.com/hashicorp/raft"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/raftstore/forward"
)

// Bounds of handing over leadership.
const (
	transferLag   = 1000             // entries: further behind, a member could not catch up in time
	transferWait  = 2 * time.Second  // for the member to catch up, while nothing is taken
	transferStuck = 10 * time.Second // after which a leader that takes nothing stops
)

// TransferLeadership makes another voter the leader: the named one, or, if node is empty, the one that is
// furthest. Writes wait meanwhile, for well under a second. A member that does not answer or lags is
// refused (CodeUnavailable): Raft can hang while it brings such a one up to date (hashicorp/raft#696).
func (s *Store) TransferLeadership(ctx context.Context, node string) error {
	term, changed := s.leader.get()
	if term == nil {
		return s.notLeader()
	}
	if s.config.Forward == nil {
		return core.Errorf(core.CodeUnsupported, "node %q cannot ask others, so it cannot hand over", s.config.Node)
	}
	to, err := s.successor(ctx, node)
	if err != nil {
		return err
	}
	s.queue.pause(s.handingOver(to))
	err = s.transfer(ctx, to)
	if err == nil {
		s.awaitEnd(term, changed)
		return nil
	}
	if now, _ := s.leader.get(); now == term {
		s.queue.resume(s.machine.Position().Time)
	}
	return err
}

func (s *Store) handingOver(to forward.Peer) *core.Error {
	e := core.Errorf(core.CodeNotLeader, "node %q hands leadership over to %q", s.config.Node, to.Node)
	e.RetryAfter = heartbeat / 10
	return e
}

// successor finds a voter that is well and nearly up to date.
func (s *Store) successor(ctx context.Context, node string) (forward.Peer, error) {
	members, err := s.Members(ctx)
	if err != nil {
		return forward.Peer{}, err
	}
	var best *Member
	for i := range members {
		m := &members[i]
		if m.Name == s.config.Node || !m.Voter || node != "" && m.Name != node {
			continue
		}
		if m.Progress == nil {
			err = core.Errorf(core.CodeUnavailable, "node %q does not answer: %s", m.Name, m.Error)
			continue
		}
		if m.Lag > transferLag || m.Progress.Leader != s.config.Node {
			err = core.Errorf(core.CodeUnavailable, "node %q is %d entries behind, or follows another leader (%q)", m.Name, m.Lag, m.Progress.Leader)
			continue
		}
		if best == nil || m.Lag < best.Lag {
			best = m
		}
	}
	switch {
	case best != nil:
		return forward.Peer{Node: best.Name, Address: best.Address}, nil
	case err != nil:
		return forward.Peer{}, err
	case node != "":
		return forward.Peer{}, core.Errorf(core.CodeInvalid, "node %q is no other voter, so it cannot lead", node)
	}
	return forward.Peer{}, core.Errorf(core.CodeConflict, "there is no other voter to lead")
}

// transfer begins when the member has all that this leader has: then Raft needs to send it one message.
func (s *Store) transfer(patience context.Context, to forward.Peer) error {
	ctx, cancel := context.WithTimeout(patience, transferWait)
	defer cancel()
	for {
		p, err := s.config.Forward.Progress(ctx, to)
		if err != nil {
			return core.Errorf(core.CodeUnavailable, "node %q is not up to date: %w", to.Node, err)
		}
		if p.LogLast >= s.raft.LastIndex() {
			break
		}
		select {
		case <-ctx.Done():
			return core.Errorf(core.CodeUnavailable, "node %q has not caught up in %s", to.Node, transferWait)
		case <-time.After(leaderPause):
		}
	}
	future := s.raft.LeadershipTransferToServer(raft.ServerID(to.Node), raft.ServerAddress(to.Address))
	ended := make(chan error, 1)
	go func() { ended <- future.Error() }()
	select {
	case err := <-ended:
		if err == nil {
			return nil
		}
		s.config.Logger.Warn("leadership was not handed over", "to", to.Node, "error", err)
		go s.watchTransfer()
		return core.Errorf(core.CodeUnavailable, "hand leadership over to %q: %w", to.Node, err)
	case <-patience.Done():
		go s.watchTransfer()
		return core.Errorf(core.CodeTimeout, "hand leadership over to %q: %w", to.Node, patience.Err())
	case <-s.stopping.Done():
		return core.Errorf(core.CodeUnavailable, "the store of node %q has stopped", s.config.Node)
	}
}

// awaitEnd waits until this node knows that its term is over.
func (s *Store) awaitEnd(term context.Context, changed <-chan struct{}) {
	patience := time.NewTimer(transferWait)
	defer patience.Stop()
	for {
		select {
		case <-term.Done():
			return
		case <-changed:
			now, next := s.leader.get()
			if now != term {
				return
			}
			changed = next
		case <-patience.C:
			return
		}
	}
}

// watchTransfer stops a leader in which a failed transfer has left Raft refusing everything for good
// (hashicorp/raft#696); another one is elected then, and this one is well after its restart.
func (s *Store) watchTransfer() {
	deadline := time.Now().Add(transferStuck)
	for {
		err := s.raft.Barrier(0).Error()
		if !errors.Is(err, raft.ErrLeadershipTransferInProgress) {
			return
		}
		if time.Now().After(deadline) {
			s.fail(core.Errorf(core.CodeInternal, "raft has been handing leadership over for %s and takes nothing meanwhile", transferStuck))
			return
		}
		select {
		case <-s.stopping.Done():
			return
		case <-time.After(leaderPause):
		}
	}
}
