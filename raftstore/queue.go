package raftstore

import (
	"sync"
	"time"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/audit"
	"github.com/instarhq/instar/raftstore/fsm"
)

// Bounds of the queue in front of Raft, whose own is unbounded.
const (
	queueProposals = 8192
	queueBytes     = 64 << 20
	groupProposals = 256
	groupBytes     = 512 << 10 // a group has at least one proposal, however large
	groupsInFlight = 2
)

// proposal is a transaction on its way.
type proposal struct {
	verb   string
	raw    []byte
	queued time.Time // for the observer
	until  time.Time // it is not proposed after this; zero: whenever it may be
	// answer is called once, and must neither block nor use the queue.
	answer func(fsm.Outcome)
}

// queue holds what waits to be proposed, in the order in which it was stamped. Stamping and queueing
// are one step under the lock, so that the order of times is the order of the log.
type queue struct {
	now  func() time.Time
	node string
	wake chan struct{} // has an element when waiting is not empty

	mu      sync.Mutex
	refuse  *core.Error // why nothing is taken right now; nil: it is
	closed  bool        // refuse is for good
	last    int64       // newest stamp, nanoseconds since 1970
	waiting []*proposal
	bytes   int
	full    uint64 // how many were refused because too much was waiting
}

func newQueue(now func() time.Time, node string) *queue {
	return &queue{
		now: now, node: node, wake: make(chan struct{}, 1),
		refuse: core.Errorf(core.CodeNotLeader, "node %q is not the leader yet", node),
	}
}

// add stamps, encodes and queues a transaction. If it does, answer will be called.
func (q *queue) add(txn core.Txn, until time.Time, answer func(fsm.Outcome)) (*proposal, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.refuse != nil {
		return nil, q.refuse
	}
	if len(q.waiting) >= queueProposals || q.bytes >= queueBytes {
		q.full++
		e := core.Errorf(core.CodeUnavailable, "node %q has %d transactions waiting to be committed and takes no more right now", q.node, len(q.waiting))
		e.RetryAfter = 100 * time.Millisecond
		return nil, e
	}
	txn.Meta.Time = notBefore(q.now(), q.last)
	if txn.Meta.Origin == "" {
		txn.Meta.Origin = q.node
	}
	raw, err := audit.Encode(txn)
	if err != nil {
		return nil, err
	}
	q.last = txn.Meta.Time.UnixNano()
	p := &proposal{verb: txn.Meta.Verb, raw: raw, queued: time.Now(), until: until, answer: answer}
	q.waiting = append(q.waiting, p)
	q.bytes += len(raw)
	q.signal()
	return p, nil
}

func (q *queue) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// take removes a group from the queue; none if it is empty. What nobody waits for any more is dropped.
func (q *queue) take() []*proposal {
	q.mu.Lock()
	defer q.mu.Unlock()
	var group []*proposal
	n, size := 0, 0
	now := time.Now()
	for n < len(q.waiting) && len(group) < groupProposals {
		p := q.waiting[n]
		if len(group) > 0 && size+len(p.raw) > groupBytes {
			break
		}
		n++
		q.bytes -= len(p.raw)
		if !p.until.IsZero() && now.After(p.until) {
			p.answer(fsm.Outcome{Err: core.Errorf(core.CodeTimeout, "transaction %q was not proposed in time", p.verb)})
			continue
		}
		size += len(p.raw)
		group = append(group, p)
	}
	q.waiting = q.waiting[n:]
	if len(q.waiting) == 0 {
		q.waiting = nil // lets the array go
	} else {
		q.signal()
	}
	return group
}

// withdraw takes a proposal out of the queue; false if it is on its way already.
func (q *queue) withdraw(p *proposal) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	for i, waiting := range q.waiting {
		if waiting == p {
			q.waiting = append(q.waiting[:i:i], q.waiting[i+1:]...)
			q.bytes -= len(p.raw)
			return true
		}
	}
	return false
}

// pause refuses everything with err until resume, also what waits: it was never proposed.
func (q *queue) pause(err *core.Error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.closed {
		q.drop(err)
	}
}

// close is a pause without end.
func (q *queue) close(err *core.Error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.closed {
		q.drop(err)
		q.closed = true
	}
}

func (q *queue) drop(err *core.Error) {
	q.refuse = err
	for _, p := range q.waiting {
		p.answer(fsm.Outcome{Err: err})
	}
	q.waiting, q.bytes = nil, 0
}

// resume takes transactions again, with times from that of the newest record on.
func (q *queue) resume(last int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return
	}
	q.refuse = nil
	q.last = max(q.last, last)
}

// notBefore gives now in UTC, or the time of last if that is later.
func notBefore(now time.Time, last int64) time.Time {
	return time.Unix(0, max(now.UnixNano(), last)).UTC()
}

// stats are how much waits, and how many transactions were refused because that was too much.
func (q *queue) stats() (waiting, bytes int, full uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.waiting), q.bytes, q.full
}
