package main

import (
	"context"

	"github.com/instarhq/instar/sdk"
)

// watcher is one Watch call. Events queue without a bound: a slow caller must not hold up the driver.
type watcher struct {
	queue []sdk.Instance // guarded by driver.mu
	ready chan struct{}
}

// tell queues an event for everybody. d.mu must be held.
func (d *driver) tell(i sdk.Instance) {
	for w := range d.watchers {
		w.push(i)
	}
}

func (w *watcher) push(i sdk.Instance) {
	w.queue = append(w.queue, i)
	select {
	case w.ready <- struct{}{}:
	default:
	}
}

// Watch begins with the present state. It is queued under the lock that changes are queued under, so that
// nothing falls in between.
func (d *driver) Watch(ctx context.Context, event func(sdk.Instance) error) error {
	w := &watcher{ready: make(chan struct{}, 1)}
	d.mu.Lock()
	for _, r := range d.store.records {
		if !r.Destroyed {
			w.push(r.instance())
		}
	}
	d.watchers[w] = struct{}{}
	d.mu.Unlock()
	defer func() {
		d.mu.Lock()
		delete(d.watchers, w)
		d.mu.Unlock()
	}()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-w.ready:
		}
		d.mu.Lock()
		events := w.queue
		w.queue = nil
		d.mu.Unlock()
		for _, i := range events {
			if err := event(i); err != nil {
				return err
			}
		}
	}
}
