package raftstore

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/raftstore/fsm"
)

// leadership is what this node knows of its own. A term of it begins when a barrier has shown that all
// earlier entries are applied here, and ends with its context.
type leadership struct {
	mu      sync.Mutex
	term    context.Context // nil: not leader, or not ready yet
	changed chan struct{}   // closed and replaced when term changes
}

func (l *leadership) init() { l.changed = make(chan struct{}) }

func (l *leadership) set(term context.Context) { l.change(term) }

func (l *leadership) clear() {
	var none context.Context
	l.change(none)
}

func (l *leadership) change(term context.Context) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.term = term
	close(l.changed)
	l.changed = make(chan struct{})
}

func (l *leadership) get() (term context.Context, changed <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.term, l.changed
}

// followLeadership turns Raft's notices into terms. Raft waits until a notice is taken, so none is lost:
// a leadership that ends and begins again at once is two terms, not one.
func (s *Store) followLeadership(notices <-chan bool) {
	end := func() {}
	lose := func() {
		end()
		s.queue.pause(s.notLeader())
		s.leader.clear()
	}
	defer lose()
	for {
		select {
		case <-s.stopping.Done():
			return
		case leads := <-notices:
			lose()
			if !leads {
				continue
			}
			term, cancel := context.WithCancel(s.stopping)
			taken := make(chan struct{})
			end = func() { cancel(); <-taken }
			go func() {
				defer close(taken)
				s.takeOver(term)
			}()
		}
	}
}

// takeOver makes a leader ready: nothing is decided on state that lacks what the last leader committed.
func (s *Store) takeOver(term context.Context) {
	for term.Err() == nil {
		err := s.raft.Barrier(0).Error()
		if err == nil && s.machine.Identity().ID == "" {
			err = s.begin()
		}
		if err == nil {
			if term.Err() == nil { // else lose has been called, or waits for us
				s.queue.resume(s.machine.Position().Time)
				s.leader.set(term)
			}
			return
		}
		if errors.Is(err, raft.ErrNotLeader) || errors.Is(err, raft.ErrLeadershipLost) || errors.Is(err, raft.ErrRaftShutdown) {
			return
		}
		s.config.Logger.Warn("leader is not ready", "error", err)
		select {
		case <-term.Done():
		case <-time.After(heartbeat):
		}
	}
}

// begin commits the identity of a new cluster.
func (s *Store) begin() error {
	command, err := fsm.EncodeIdentity(s.newIdentity())
	if err != nil {
		return err
	}
	future := s.raft.Apply(command, 0)
	if err := future.Error(); err != nil {
		return err
	}
	return future.Response().(response).err
}

// Lead runs fn whenever this node is the leader and has applied everything that earlier leaders
// committed. fn's context ends when the leadership does; fn must then return, and is run again with the
// next one. Lead returns when ctx ends or the store stops, and with fn's error if fn ends on its own.
func (s *Store) Lead(ctx context.Context, fn func(ctx context.Context) error) error {
	for {
		term, changed := s.leader.get()
		if term == nil {
			select {
			case <-changed:
				continue
			case <-ctx.Done():
				return ctx.Err()
			case <-s.stopping.Done():
				return core.Errorf(core.CodeUnavailable, "the store of node %q has stopped", s.config.Node)
			}
		}
		run, cancel := context.WithCancel(ctx)
		detach := context.AfterFunc(term, cancel)
		err := fn(run)
		detach()
		cancel()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if term.Err() == nil {
			return err
		}
		// The term is over, but followLeadership may not have said so yet.
		for now, changed := s.leader.get(); now == term; now, changed = s.leader.get() {
			<-changed
		}
	}
}

// leadAlone makes the only voter of a cluster leader at once: it has nobody to wait for. Raft looks at its
// election timer anew when the timeout becomes shorter, and finds that no leader was ever heard of.
func (s *Store) leadAlone(ctx context.Context) error {
	sooner := s.raft.ReloadableConfig()
	sooner.HeartbeatTimeout -= time.Millisecond
	if err := s.raft.ReloadConfig(sooner); err != nil {
		return fmt.Errorf("start an election: %w", err)
	}
	return s.awaitLeadership(ctx)
}

// awaitLeadership waits until this node leads.
func (s *Store) awaitLeadership(ctx context.Context) error {
	for {
		term, changed := s.leader.get()
		if term != nil {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return core.Errorf(core.CodeTimeout, "node %q has not become leader: %w", s.config.Node, ctx.Err())
		case <-s.stopping.Done():
			return core.Errorf(core.CodeUnavailable, "node %q stopped before it became leader: %w", s.config.Node, <-s.failed)
		}
	}
}

// IsLeader reports whether this node leads and takes writes.
func (s *Store) IsLeader() bool {
	term, _ := s.leader.get()
	return term != nil
}

// Leader is the name of the node that leads as far as this one knows; empty: none.
func (s *Store) Leader() string {
	_, id := s.raft.LeaderWithID()
	return string(id)
}

func (s *Store) notLeader() *core.Error {
	leader := s.Leader()
	if leader == "" || leader == s.config.Node {
		e := core.Errorf(core.CodeNotLeader, "node %q is not the leader, and knows of none yet", s.config.Node)
		e.RetryAfter = heartbeat
		return e
	}
	e := core.Errorf(core.CodeNotLeader, "node %q is not the leader, %q is", s.config.Node, leader)
	e.RetryAfter = heartbeat / 10
	return e
}
