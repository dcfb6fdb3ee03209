package control

import (
	"context"
	"sync"
	"time"
)

const (
	// A service whose planning took over cheapPlanning rests for restFactor times as long before it is
	// planned again, at most maxRest, unless it has moved. So planning takes a bounded share of the time,
	// however many instances report, and the number of plans does not grow with theirs.
	cheapPlanning = 2 * time.Millisecond
	restFactor    = 8
	maxRest       = time.Second

	minRetry = 100 * time.Millisecond
	maxRetry = 30 * time.Second
)

// queue holds the services that are to be looked at. One service is never with two workers, and is
// queued once however often it is marked.
type queue struct {
	ready chan struct{} // readable while there may be something in order

	mu     sync.Mutex
	closed bool
	items  map[string]*item
	order  []string // ready to be taken
}

type item struct {
	dirty    bool   // to be looked at
	cause    uint64 // the newest sequence number that made it dirty
	queued   bool   // in order, or with a timer that puts it there
	running  bool
	failures int
	after    time.Time // not before
	rest     *time.Timer
	alarm    *time.Timer
}

func newQueue() *queue {
	return &queue{ready: make(chan struct{}, workers), items: map[string]*item{}}
}

// mark asks to look at a service because of record cause.
func (q *queue) mark(name string, cause uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	it := q.items[name]
	if it == nil {
		it = &item{}
		q.items[name] = it
	}
	it.dirty = true
	it.cause = max(it.cause, cause)
	q.schedule(name, it)
}

// schedule puts a dirty service in order, now or when its rest is over.
func (q *queue) schedule(name string, it *item) {
	if q.closed || it.queued || it.running || !it.dirty {
		return
	}
	it.queued = true
	if rest := time.Until(it.after); rest > 0 {
		it.rest = time.AfterFunc(rest, func() {
			q.mu.Lock()
			defer q.mu.Unlock()
			q.push(name)
		})
		return
	}
	q.push(name)
}

func (q *queue) push(name string) {
	q.order = append(q.order, name)
	q.signal()
}

func (q *queue) signal() {
	select {
	case q.ready <- struct{}{}:
	default:
	}
}

// take waits for a service to look at. ok is false when ctx ends.
func (q *queue) take(ctx context.Context) (name string, cause uint64, ok bool) {
	for {
		if name, cause, ok = q.pop(); ok {
			return name, cause, true
		}
		select {
		case <-q.ready:
		case <-ctx.Done():
			return "", 0, false
		}
	}
}

func (q *queue) pop() (name string, cause uint64, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.order) == 0 || q.closed {
		return "", 0, false
	}
	name, q.order = q.order[0], q.order[1:]
	it := q.items[name]
	it.queued, it.dirty, it.running = false, false, true
	if len(q.order) > 0 {
		q.signal() // for the next worker
	}
	return name, it.cause, true
}

// done ends what take began.
func (q *queue) done(name string, s *stepped) {
	q.mu.Lock()
	defer q.mu.Unlock()
	it := q.items[name]
	it.running, it.failures = false, 0
	it.dirty = it.dirty || s.more
	if s.gone && !it.dirty {
		if it.alarm != nil {
			it.alarm.Stop()
		}
		delete(q.items, name) // or the queue would grow for ever
		return
	}
	if s.planning > cheapPlanning && !s.more && !s.moved {
		it.after = time.Now().Add(min(restFactor*s.planning, maxRest))
	}
	q.schedule(name, it)
}

// failed ends what take began, and asks to look again after a while, which it returns.
func (q *queue) failed(name string) time.Duration {
	q.mu.Lock()
	defer q.mu.Unlock()
	it := q.items[name]
	delay := min(maxRetry, minRetry<<min(it.failures, 16))
	it.running, it.dirty = false, true
	it.failures++
	it.after = time.Now().Add(delay)
	q.schedule(name, it)
	return delay
}

// wake marks a service after a delay, in place of what wake said before.
func (q *queue) wake(name string, delay time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	it := q.items[name]
	if it == nil {
		return
	}
	if it.alarm != nil {
		it.alarm.Stop()
	}
	if !q.closed {
		it.alarm = time.AfterFunc(max(delay, 0), func() { q.mark(name, 0) })
	}
}

// close stops all timers.
func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	for _, it := range q.items {
		for _, t := range []*time.Timer{it.rest, it.alarm} {
			if t != nil {
				t.Stop()
			}
		}
	}
}
