package raftstore

import (
	"context"
	"time"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/audit"
	"github.com/instarhq/instar/raftstore/forward"
)

// Forwarder asks the stores of other nodes; *forward.Client is one.
type Forwarder interface {
	Propose(ctx context.Context, to forward.Peer, record []byte) (forward.Answer, error)
	ReadIndex(ctx context.Context, to forward.Peer) (uint64, error)
	Progress(ctx context.Context, of forward.Peer) (forward.Progress, error)
	Compare(ctx context.Context, with forward.Peer, head core.TreeHead) (core.TreeHead, error)
	Close() error
}

var _ Forwarder = (*forward.Client)(nil)

const (
	// leaderPatience is for how long a request waits for a leader that takes it: a few elections.
	leaderPatience = 10 * time.Second
	// leaderPause is between two looks for one.
	leaderPause = 20 * time.Millisecond
)

// leaderPeer is where the leader is, as far as this node knows; false: there is none, or it is this node.
func (s *Store) leaderPeer() (forward.Peer, bool) {
	address, id := s.raft.LeaderWithID()
	if id == "" || string(id) == s.config.Node {
		return forward.Peer{}, false
	}
	return forward.Peer{Node: string(id), Address: string(address)}, true
}

// atLeader runs here, or there at the leader's, until one of them was the leader. It goes on only after
// errors which say that nothing was proposed, and not for longer than leaderPatience.
func (s *Store) atLeader(ctx context.Context, here func() error, there func(forward.Peer) error) error {
	patience := time.NewTimer(leaderPatience)
	defer patience.Stop()
	for {
		err := here()
		if core.CodeOf(err) == core.CodeNotLeader && s.config.Forward != nil {
			if leader, ok := s.leaderPeer(); ok {
				err = there(leader)
			}
		}
		if !s.worthWaiting(err) {
			return err
		}
		pause := time.NewTimer(leaderPause)
		select {
		case <-pause.C:
		case <-patience.C:
			return err
		case <-ctx.Done():
			return err
		case <-s.stopping.Done():
			return err
		}
	}
}

// worthWaiting reports whether another leader may take what this error refuses. Too much work is none of
// these errors: whoever is told to come back later shall.
func (s *Store) worthWaiting(err error) bool {
	if err == nil || s.config.Forward == nil || s.stopping.Err() != nil {
		return false
	}
	e, ok := core.AsError(err)
	return ok && (e.Code == core.CodeNotLeader || e.Code == core.CodeUnavailable && e.RetryAfter == 0)
}

// proposeThere hands a transaction to the leader and waits until what it answers about is here, too.
func (s *Store) proposeThere(ctx context.Context, leader forward.Peer, txn core.Txn) (core.Receipt, error) {
	txn.Meta.Time = s.config.Now() // replaced by the leader
	if txn.Meta.Origin == "" {
		txn.Meta.Origin = s.config.Node
	}
	record, err := audit.Encode(txn)
	if err != nil {
		return core.Receipt{}, err
	}
	answer, err := s.config.Forward.Propose(ctx, leader, record)
	if err != nil {
		if core.IsConflict(err) {
			// The refusal is about a state that the caller may not see here yet. If it cannot wait, it
			// gets the refusal all the same.
			_ = s.WaitApplied(ctx, answer.Seen)
		}
		return core.Receipt{}, err
	}
	if err := s.waitFor(ctx, answer.Receipt); err != nil {
		return core.Receipt{}, core.Errorf(core.CodeTimeout, "transaction %q is committed as record %d, but not applied on node %q yet: %w",
			txn.Meta.Verb, answer.Receipt.Seq, s.config.Node, err).WithHint("repeat it with the same request id")
	}
	return answer.Receipt, nil
}

// waitFor waits until a receipt's record is here. A restore that is on its way may put another log in
// place first.
func (s *Store) waitFor(ctx context.Context, receipt core.Receipt) error {
	return s.waitUntil(ctx, func() bool { return s.Seq() >= receipt.Seq && s.Origin() == receipt.Origin })
}

// WaitApplied waits until this node has applied record seq, which ReadIndex or a receipt of another node
// has named. CodeTimeout if ctx ends before.
func (s *Store) WaitApplied(ctx context.Context, seq uint64) error {
	err := s.waitUntil(ctx, func() bool { return s.Seq() >= seq })
	if err != nil {
		return core.Errorf(core.CodeTimeout, "node %q is at record %d and has not got to %d in time: %w", s.config.Node, s.Seq(), seq, err)
	}
	return nil
}

func (s *Store) waitUntil(ctx context.Context, there func() bool) error {
	for {
		changed := s.machine.Changed()
		if there() {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		case <-s.stopping.Done():
			return context.Cause(s.stopping)
		}
	}
}
