package raftstore

import (
	"context"
	"errors"
	"time"

	"github.com/hashicorp/raft"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/audit"
	"github.com/instarhq/instar/raftstore/forward"
	"github.com/instarhq/instar/raftstore/fsm"
)

// Propose implements core.Proposer on every node: a follower asks the leader (Config.Forward) and returns
// when the record is applied here, too. While there is no leader it waits for one, up to leaderPatience.
// CodeNotLeader and CodeUnavailable mean that nothing was proposed: with RetryAfter too much is
// waiting, without it there is no leader, or the store has stopped.
func (s *Store) Propose(ctx context.Context, txn core.Txn) (receipt core.Receipt, err error) {
	if err := ctx.Err(); err != nil {
		return core.Receipt{}, core.Errorf(core.CodeTimeout, "transaction %q was not proposed: %w", txn.Meta.Verb, err)
	}
	if err := audit.Check(&txn); err != nil {
		return core.Receipt{}, err
	}
	err = s.atLeader(ctx, func() (err error) {
		receipt, err = s.proposeHere(ctx, txn)
		return err
	}, func(leader forward.Peer) (err error) {
		receipt, err = s.proposeThere(ctx, leader, txn)
		return err
	})
	return receipt, err
}

// proposeHere commits a transaction that was checked, if this node leads.
func (s *Store) proposeHere(ctx context.Context, txn core.Txn) (core.Receipt, error) {
	done := make(chan fsm.Outcome, 1)
	p, err := s.queue.add(txn, time.Time{}, func(outcome fsm.Outcome) { done <- outcome })
	if core.CodeOf(err) == core.CodeNotLeader {
		err = s.notLeader() // the queue does not know who leads by now
	}
	if err != nil {
		return core.Receipt{}, err
	}
	select {
	case outcome := <-done:
		return outcome.Receipt, outcome.Err
	case <-ctx.Done():
		if s.queue.withdraw(p) {
			return core.Receipt{}, core.Errorf(core.CodeTimeout, "transaction %q was not proposed in time: %w", txn.Meta.Verb, ctx.Err())
		}
		return core.Receipt{}, unknown(txn.Meta.Verb, ctx.Err())
	case <-s.stopping.Done():
		// The answer may be there as well, and is the better one.
		select {
		case outcome := <-done:
			return outcome.Receipt, outcome.Err
		default:
			return core.Receipt{}, unknown(txn.Meta.Verb, context.Cause(s.stopping))
		}
	}
}

func unknown(verb string, cause error) error {
	return core.Errorf(core.CodeTimeout, "it is not known whether transaction %q was committed: %w", verb, cause).
		WithHint("repeat it with the same request id")
}

// group hands the queue to Raft, as many proposals at a time as have come together while the groups
// before were written. A single writer never waits for company.
func (s *Store) group() {
	slots := make(chan struct{}, groupsInFlight)
	for {
		select {
		case slots <- struct{}{}:
		case <-s.stopping.Done():
			return
		}
		group := s.awaitGroup()
		if group == nil {
			return
		}
		records := make([][]byte, len(group))
		for i, p := range group {
			records[i] = p.raw
		}
		future := s.raft.Apply(fsm.EncodeGroup(records), 0)
		go func() {
			s.answer(group, future)
			<-slots
		}()
	}
}

func (s *Store) awaitGroup() []*proposal {
	for {
		select {
		case <-s.queue.wake:
			if group := s.queue.take(); len(group) > 0 {
				return group
			}
		case <-s.stopping.Done():
			return nil
		}
	}
}

// answer waits for a group and tells each proposal what became of it.
func (s *Store) answer(group []*proposal, future raft.ApplyFuture) {
	err := future.Error()
	var outcomes []fsm.Outcome
	if err == nil {
		r := future.Response().(response)
		outcomes, err = r.outcomes, r.err
	}
	if err == nil && len(outcomes) != len(group) {
		err = errors.New("the state machine has not answered")
	}
	if err == nil {
		s.observed(group)
	}
	for i, p := range group {
		switch {
		case err == nil:
			p.answer(outcomes[i])
		case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrLeadershipTransferInProgress):
			p.answer(fsm.Outcome{Err: s.notLeader()}) // Raft refused it at the door
		default:
			p.answer(fsm.Outcome{Err: unknown(p.verb, err)})
		}
	}
}
