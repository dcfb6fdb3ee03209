package docker

import (
	"context"
	"sync"

	"github.com/instarhq/instar/sdk"
)

// hub passes on what has become of instances. A watcher that is slow sees the newest state once, and takes no
// memory beyond one entry for each instance.
type hub struct {
	mu       sync.Mutex
	watchers map[*watcher]bool
}

// watcher is one Watch call.
type watcher struct {
	wake    chan struct{} // full when there is something
	order   []string
	pending map[string]sdk.Instance
}

func newHub() *hub { return &hub{watchers: map[*watcher]bool{}} }

func (h *hub) publish(i sdk.Instance) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for w := range h.watchers {
		if _, waiting := w.pending[i.ID]; !waiting {
			w.order = append(w.order, i.ID)
		}
		w.pending[i.ID] = i
		select {
		case w.wake <- struct{}{}:
		default:
		}
	}
}

func (h *hub) join() *watcher {
	w := &watcher{wake: make(chan struct{}, 1), pending: map[string]sdk.Instance{}}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.watchers[w] = true
	return w
}

func (h *hub) leave(w *watcher) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.watchers, w)
}

// next is called by the watcher's own goroutine.
func (h *hub) next(w *watcher) (sdk.Instance, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(w.order) == 0 {
		return sdk.Instance{}, false
	}
	id := w.order[0]
	w.order = w.order[1:]
	i := w.pending[id]
	delete(w.pending, id)
	return i, true
}

// Watch implements sdk.Compute. It goes on through an outage of the engine, and then reports what has changed
// meanwhile; it does not begin during one, for there is no present state to begin with.
func (d *Driver) Watch(ctx context.Context, event func(sdk.Instance) error) error {
	t, ctx, done, err := d.begin(ctx)
	if err != nil {
		return err
	}
	defer done()
	// Joined before the instances are read, so that nothing falls in between.
	w := t.hub.join()
	defer t.hub.leave(w)
	if err := t.link.await(ctx); err != nil {
		return err
	}
	for _, cluster := range t.clusters() {
		list, err := t.list(ctx, cluster)
		if err != nil {
			return err
		}
		for _, i := range list {
			if err := event(i); err != nil {
				return err
			}
		}
	}
	for {
		for i, ok := t.hub.next(w); ok; i, ok = t.hub.next(w) {
			if err := event(i); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-w.wake:
		}
	}
}
