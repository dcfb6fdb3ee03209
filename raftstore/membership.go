package raftstore

import (
	"context"
	"errors"
	"time"

	"github.com/hashicorp/raft"

	"github.com/instarhq/instar/core"
)

// Changes of the membership. They are made on the leader (CodeNotLeader elsewhere), one at a time, and
// commit like any entry. Each may be repeated: what is so already is no error.

// AddNonvoter makes a node a member without a vote: it gets the whole state, and follows. A member that
// is there already gets the address.
func (s *Store) AddNonvoter(ctx context.Context, node, address string) error {
	server, _, ok, err := s.server(node)
	if err != nil || ok && string(server.Address) == address {
		return err
	}
	return s.change(ctx, "add", node, func(previous uint64, timeout time.Duration) raft.IndexFuture {
		return s.raft.AddNonvoter(raft.ServerID(node), raft.ServerAddress(address), previous, timeout)
	})
}

// Promote gives a member a vote. It should have caught up (Member.Lag): until it has, the cluster may
// need an answer that it cannot give.
func (s *Store) Promote(ctx context.Context, node string) error {
	server, _, err := s.member(node)
	if err != nil || server.Suffrage == raft.Voter {
		return err
	}
	return s.change(ctx, "promote", node, func(previous uint64, timeout time.Duration) raft.IndexFuture {
		return s.raft.AddVoter(server.ID, server.Address, previous, timeout)
	})
}

// Demote takes a member's vote. CodeConflict for the last voter and for the leader, which must hand over
// first.
func (s *Store) Demote(ctx context.Context, node string) error {
	server, voters, err := s.member(node)
	if err != nil || server.Suffrage != raft.Voter {
		return err
	}
	if err := s.mayGo(node, voters); err != nil {
		return err
	}
	return s.change(ctx, "demote", node, func(previous uint64, timeout time.Duration) raft.IndexFuture {
		return s.raft.DemoteVoter(server.ID, previous, timeout)
	})
}

// Remove ends a node's membership. CodeConflict for the last voter and for the leader, which must hand
// over first. Whether the voters that remain are alive is for the caller to know.
func (s *Store) Remove(ctx context.Context, node string) error {
	server, voters, ok, err := s.server(node)
	if err != nil || !ok {
		return err
	}
	if server.Suffrage == raft.Voter {
		if err := s.mayGo(node, voters); err != nil {
			return err
		}
	}
	return s.change(ctx, "remove", node, func(previous uint64, timeout time.Duration) raft.IndexFuture {
		return s.raft.RemoveServer(server.ID, previous, timeout)
	})
}

// SetAddress tells the others where a member is to be found from now on.
func (s *Store) SetAddress(ctx context.Context, node, address string) error {
	server, _, err := s.member(node)
	if err != nil || string(server.Address) == address {
		return err
	}
	return s.change(ctx, "move", node, func(previous uint64, timeout time.Duration) raft.IndexFuture {
		if server.Suffrage == raft.Voter {
			return s.raft.AddVoter(server.ID, raft.ServerAddress(address), previous, timeout)
		}
		return s.raft.AddNonvoter(server.ID, raft.ServerAddress(address), previous, timeout)
	})
}

func (s *Store) member(node string) (server raft.Server, voters int, err error) {
	server, voters, ok, err := s.server(node)
	if err == nil && !ok {
		err = core.Errorf(core.CodeNotFound, "node %q is no member of the cluster", node)
	}
	return server, voters, err
}

func (s *Store) mayGo(node string, voters int) error {
	switch {
	case voters == 1:
		return core.Errorf(core.CodeConflict, "node %q is the only voter", node).
			WithHint("add and promote another one first")
	case node == s.config.Node:
		return core.Errorf(core.CodeConflict, "node %q is the leader", node).WithHint("hand leadership over first")
	}
	return nil
}

// changePatience is for how long a change waits to be taken; the one before it must have committed.
const changePatience = 10 * time.Second

// change makes one change on top of the configuration that this leader has applied: one that was decided
// on an older one is refused and can be decided anew.
func (s *Store) change(ctx context.Context, what, node string, begin func(previous uint64, timeout time.Duration) raft.IndexFuture) error {
	if !s.IsLeader() {
		return s.notLeader()
	}
	timeout := changePatience
	if deadline, ok := ctx.Deadline(); ok {
		timeout = min(timeout, max(time.Until(deadline), time.Millisecond))
	}
	future := begin(s.machine.Position().ConfigIndex, timeout)
	ended := make(chan error, 1)
	go func() { ended <- future.Error() }()
	var err error
	select {
	case err = <-ended:
	case <-ctx.Done():
		return core.Errorf(core.CodeTimeout, "%s member %q: it is not known whether it was done: %w", what, node, ctx.Err())
	}
	switch {
	case err == nil:
		s.config.Logger.Info("membership changed", "change", what, "node", node)
		return nil
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrLeadershipTransferInProgress):
		return s.notLeader()
	case errors.Is(err, raft.ErrLeadershipLost), errors.Is(err, raft.ErrRaftShutdown):
		return core.Errorf(core.CodeTimeout, "%s member %q: it is not known whether it was done: %w", what, node, err)
	case errors.Is(err, raft.ErrEnqueueTimeout):
		return core.Errorf(core.CodeUnavailable, "%s member %q: the change before this one has not committed yet: %w", what, node, err)
	}
	return core.Errorf(core.CodeConflict, "%s member %q: %w", what, node, err)
}
