package process

import (
	"context"
	"sync"

	"github.com/instarhq/instar/sdk"
)

// hub tells watchers which instances have changed. It keeps ids, not states: a watcher that is slow sees
// the newest state once, and takes no memory beyond one entry for each instance.
type hub struct {
	mu       sync.Mutex
	watchers map[*watcher]bool
	closed   bool
}

// watcher is one Watch call.
type watcher struct {
	wake  chan struct{} // full when there is something
	order []string
	what  map[string]*sdk.Instance // nil: read it when it is delivered; else it is gone and this is the last of it
	ended bool
}

func newHub() *hub { return &hub{watchers: map[*watcher]bool{}} }

// changed says that the state of an instance is another one.
func (h *hub) changed(id string) { h.publish(id, nil) }

// destroyed says that an instance is gone; last is what it was.
func (h *hub) destroyed(last sdk.Instance) { h.publish(last.ID, &last) }

func (h *hub) publish(id string, last *sdk.Instance) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for w := range h.watchers {
		w.put(id, last)
	}
}

// put is called with the hub's lock.
func (w *watcher) put(id string, last *sdk.Instance) {
	if _, waiting := w.what[id]; !waiting {
		w.order = append(w.order, id)
	}
	w.what[id] = last
	w.poke()
}

func (w *watcher) poke() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// next is called by the watcher's own goroutine.
func (h *hub) next(w *watcher) (id string, last *sdk.Instance, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(w.order) == 0 {
		return "", nil, false
	}
	id = w.order[0]
	w.order = w.order[1:]
	last = w.what[id]
	delete(w.what, id)
	return id, last, true
}

func (h *hub) join() *watcher {
	w := &watcher{wake: make(chan struct{}, 1), what: map[string]*sdk.Instance{}}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.watchers[w] = true
	w.ended = h.closed
	return w
}

func (h *hub) leave(w *watcher) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.watchers, w)
}

func (h *hub) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	for w := range h.watchers {
		w.ended = true
		w.poke()
	}
}

func (h *hub) isOver(w *watcher) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return w.ended
}

// Watch implements sdk.Compute.
func (d *Driver) Watch(ctx context.Context, event func(sdk.Instance) error) error {
	t, err := d.bound()
	if err != nil {
		return err
	}
	// Joined before the instances are read, so that nothing falls in between.
	w := t.hub.join()
	defer t.hub.leave(w)
	look := newInspector(t)
	for _, i := range t.all() {
		seen, err := look.look(i)
		if err == nil {
			err = event(seen)
		}
		if err != nil {
			return err
		}
	}
	for {
		if err := t.deliver(ctx, w, event); err != nil {
			return err
		}
		if t.hub.isOver(w) {
			return context.Cause(t.life)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-w.wake:
		}
	}
}

// deliver passes on everything that waits.
func (t *target) deliver(ctx context.Context, w *watcher, event func(sdk.Instance) error) error {
	look := newInspector(t)
	for ctx.Err() == nil {
		id, last, ok := t.hub.next(w)
		if !ok {
			return nil
		}
		var seen sdk.Instance
		if last != nil {
			seen = *last
		} else {
			i, err := t.find(id)
			if err != nil {
				continue // destroyed meanwhile; that event follows
			}
			if seen, err = look.look(i); err != nil {
				return err
			}
		}
		if err := event(seen); err != nil {
			return err
		}
	}
	return context.Cause(ctx)
}
