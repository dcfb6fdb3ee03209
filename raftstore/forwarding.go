package raftstore

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

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
	// leaderPause is before the first new attempt; it doubles up to leaderPauseMax. The news of a leader ends it.
	leaderPause    = 20 * time.Millisecond
	leaderPauseMax = 640 * time.Millisecond
	// leaderWaiters is how many requests may wait for a leader.
	leaderWaiters = 4096
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
	wait := leaderWait{store: s, pause: leaderPause}
	defer wait.end()
	for {
		news := s.election.news() // before looking, so that none is missed
		err := here()
		if core.CodeOf(err) == core.CodeNotLeader && s.config.Forward != nil {
			if leader, ok := s.leaderPeer(); ok {
				err = there(leader)
			}
		}
		if !s.worthWaiting(err) {
			return err
		}
		if err := wait.next(ctx, news, err); err != nil {
			return err
		}
	}
}

// leaderWait is the waiting of one request. All of them trying again and again would keep the
// processors from what an election needs.
type leaderWait struct {
	store *Store
	pause time.Duration
	until time.Time // zero: has not waited yet
}

// next waits for news or a pause. It gives the error to return with, if it is enough.
func (w *leaderWait) next(ctx context.Context, news <-chan struct{}, last error) error {
	s := w.store
	if w.until.IsZero() {
		w.until = time.Now().Add(leaderPatience)
		if s.election.waiters.Add(1) > leaderWaiters {
			e := core.Errorf(core.CodeUnavailable, "%d requests wait for a leader already: %w", leaderWaiters, last)
			e.RetryAfter = heartbeat
			return e
		}
	}
	left := time.Until(w.until)
	if left <= 0 {
		return last
	}
	timer := time.NewTimer(min(left, w.pause/2+rand.N(w.pause)))
	defer timer.Stop()
	w.pause = min(2*w.pause, leaderPauseMax)
	select {
	case <-timer.C:
	case <-news:
		w.pause = leaderPause // it may need a moment to be ready
		return w.stagger(ctx)
	case <-ctx.Done():
		return last
	case <-s.stopping.Done():
		return last
	}
	return nil
}

// stagger keeps a crowd from trying at the same moment.
func (w *leaderWait) stagger(ctx context.Context) error {
	const each = 20 * time.Microsecond
	crowd := int64(w.store.election.waiters.Load())
	timer := time.NewTimer(time.Duration(rand.Int64N(1 + crowd*int64(each))))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	return nil
}

func (w *leaderWait) end() {
	if !w.until.IsZero() {
		w.store.election.waiters.Add(-1)
	}
}

// election tells who waits that there may be another leader.
type election struct {
	waiters atomic.Int32

	mu      sync.Mutex
	changed chan struct{} // closed and replaced at news; nil: nobody has asked
}

func (e *election) news() <-chan struct{} {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.changed == nil {
		e.changed = make(chan struct{})
	}
	return e.changed
}

func (e *election) tell() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.changed != nil {
		close(e.changed)
		e.changed = nil
	}
}

// watchElections passes on what Raft learns of leaders.
func (s *Store) watchElections() {
	seen := make(chan raft.Observation, 16) // further ones are dropped: one will do
	observer := raft.NewObserver(seen, false, func(o *raft.Observation) bool {
		_, leader := o.Data.(raft.LeaderObservation)
		return leader
	})
	s.raft.RegisterObserver(observer)
	defer s.raft.DeregisterObserver(observer)
	for {
		_, ready := s.leader.get()
		select {
		case <-seen:
		case <-ready:
		case <-s.stopping.Done():
			return
		}
		s.election.tell()
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
