package state

import (
	"sync"

	"github.com/instarhq/instar/core"
)

// Change names an object that was written or deleted, and the service that it belongs to, if any.
type Change struct {
	Kind    core.Kind
	ID      string
	Service string
	Seq     uint64 // of the newest record that changed it
}

// Watch collects which objects have changed since the last Take. Several changes of one object count
// once, so a slow reader costs no more memory than there are objects.
type Watch struct {
	signal chan struct{}
	stop   func()

	mu    sync.Mutex
	dirty map[dirtyKey]uint64
}

type dirtyKey struct {
	kind    core.Kind
	id      string
	service string
}

// Watch begins to collect changes. Everything that exists when it begins is what View shows, or is
// collected, or both. Call Stop when done.
func (s *State) Watch() *Watch {
	w := &Watch{signal: make(chan struct{}, 1), dirty: map[dirtyKey]uint64{}}
	w.stop = func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.watches, w)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.watches[w] = struct{}{}
	return w
}

// Changed is readable when Take has something to give.
func (w *Watch) Changed() <-chan struct{} { return w.signal }

// Take returns the changes since the last Take, in no order.
func (w *Watch) Take() []Change {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := make([]Change, 0, len(w.dirty))
	for k, seq := range w.dirty {
		out = append(out, Change{Kind: k.kind, ID: k.id, Service: k.service, Seq: seq})
	}
	clear(w.dirty)
	return out
}

// Stop ends the collection.
func (w *Watch) Stop() { w.stop() }

func (w *Watch) mark(changes []Change) {
	if len(changes) == 0 {
		return
	}
	w.mu.Lock()
	for _, c := range changes {
		w.dirty[dirtyKey{c.Kind, c.ID, c.Service}] = c.Seq
	}
	w.mu.Unlock()
	select {
	case w.signal <- struct{}{}:
	default:
	}
}
