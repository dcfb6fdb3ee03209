package sdktest

import (
	"maps"
	"slices"
	"sync"

	"github.com/instarhq/instar/sdk"
)

// NoopBackend is the world that NoopCompute drivers work on. It outlives them: drivers on one backend see
// the same instances, as processes of one driver do. The zero value is empty and ready.
type NoopBackend struct {
	mu        sync.Mutex
	instances map[string]sdk.Instance
	destroyed map[string]struct{}
	seen      uint64 // highest cluster generation
	watchers  map[*watcher]struct{}
	made      int
}

// Created is how many instances have ever been made.
func (b *NoopBackend) Created() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.made
}

// put stores an instance and tells the watchers. b.mu must be held.
func (b *NoopBackend) put(i sdk.Instance) {
	if b.instances == nil {
		b.instances = map[string]sdk.Instance{}
	}
	b.instances[i.ID] = i
	b.tell(i)
}

// remove forgets an instance but its id. b.mu must be held.
func (b *NoopBackend) remove(id string) {
	i, ok := b.instances[id]
	if !ok {
		return
	}
	delete(b.instances, id)
	if b.destroyed == nil {
		b.destroyed = map[string]struct{}{}
	}
	b.destroyed[id] = struct{}{}
	i.State = sdk.StateDestroyed
	b.tell(i)
}

func (b *NoopBackend) tell(i sdk.Instance) {
	for w := range b.watchers {
		w.push(i)
	}
}

// watch registers a watcher that begins with everything that is there.
func (b *NoopBackend) watch() (*watcher, func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	w := &watcher{ready: make(chan struct{}, 1)}
	for _, i := range b.instances {
		w.push(i)
	}
	if b.watchers == nil {
		b.watchers = map[*watcher]struct{}{}
	}
	b.watchers[w] = struct{}{}
	return w, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.watchers, w)
	}
}

// list copies what matches.
func (b *NoopBackend) list(match func(sdk.Instance) bool) []sdk.Instance {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []sdk.Instance
	for i := range maps.Values(b.instances) {
		if match(i) {
			out = append(out, i)
		}
	}
	return out
}

// watcher is a queue without a bound: a slow watcher must not hold up a driver.
type watcher struct {
	mu    sync.Mutex
	queue []sdk.Instance
	ready chan struct{}
}

func (w *watcher) push(i sdk.Instance) {
	w.mu.Lock()
	w.queue = append(w.queue, i)
	w.mu.Unlock()
	select {
	case w.ready <- struct{}{}:
	default:
	}
}

func (w *watcher) take() []sdk.Instance {
	w.mu.Lock()
	defer w.mu.Unlock()
	taken := slices.Clip(w.queue)
	w.queue = nil
	return taken
}
