package raftstore

import (
	"context"
	"errors"
	"sync"

	"github.com/hashicorp/raft"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/raftstore/forward"
)

// ReadIndex gives a sequence number that includes everything that was committed, anywhere, before the
// call. A read on this node is linearizable after WaitApplied for it. It works on every node.
func (s *Store) ReadIndex(ctx context.Context) (seq uint64, err error) {
	if err := ctx.Err(); err != nil {
		return 0, core.Errorf(core.CodeTimeout, "read index: %w", err)
	}
	err = s.atLeader(ctx, func() (err error) {
		seq, err = s.readIndexHere(ctx)
		return err
	}, func(leader forward.Peer) (err error) {
		seq, err = s.config.Forward.ReadIndex(ctx, leader)
		if core.CodeOf(err) == core.CodeTimeout && ctx.Err() == nil {
			// Unlike a transaction, the question can be asked again.
			err = core.Errorf(core.CodeUnavailable, "read index: %w", err)
		}
		return err
	})
	return seq, err
}

func (s *Store) readIndexHere(ctx context.Context) (uint64, error) {
	if !s.IsLeader() {
		return 0, s.notLeader()
	}
	return s.barriers.wait(ctx, s.barrier)
}

// barrier commits an entry without content. That it could be committed shows that no other leader had
// begun when it was proposed; a leader's heartbeats alone do not show that (VerifyLeader takes answers
// to earlier ones).
func (s *Store) barrier() (uint64, error) {
	err := s.raft.Barrier(0).Error()
	switch {
	case err == nil:
		return s.Seq(), nil
	case errors.Is(err, raft.ErrRaftShutdown):
		return 0, core.Errorf(core.CodeUnavailable, "the store of node %q has stopped", s.config.Node)
	}
	return 0, s.notLeader()
}

// barriers lets all who ask while a barrier is under way share the next one.
type barriers struct {
	mu      sync.Mutex
	next    *barrierCall // has not begun; nil: nobody waits
	running bool
}

type barrierCall struct {
	done chan struct{} // closed when seq or err is set
	seq  uint64
	err  error
}

func (b *barriers) wait(ctx context.Context, barrier func() (uint64, error)) (uint64, error) {
	b.mu.Lock()
	call := b.next
	if call == nil {
		call = &barrierCall{done: make(chan struct{})}
		b.next = call
	}
	if !b.running {
		b.running = true
		go b.run(barrier)
	}
	b.mu.Unlock()
	select {
	case <-call.done:
		return call.seq, call.err
	case <-ctx.Done():
		return 0, core.Errorf(core.CodeTimeout, "read index: %w", ctx.Err())
	}
}

func (b *barriers) run(barrier func() (uint64, error)) {
	for {
		b.mu.Lock()
		call := b.next
		b.next = nil
		b.running = call != nil
		b.mu.Unlock()
		if call == nil {
			return
		}
		call.seq, call.err = barrier()
		close(call.done)
	}
}
