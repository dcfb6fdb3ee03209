package docker

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/moby/moby/api/types/events"

	"github.com/instarhq/instar/sdk"
)

// refresher reads instances again that something was heard of, and publishes those that are not what they
// were. It belongs to one connection; what was known is the target's.
type refresher struct {
	t    *target
	wake chan struct{}

	mu      sync.Mutex
	pending map[string]bool // containers by the engine's id; false: it may be somebody else's
	reading map[string]bool // those that were taken last, to be read
	resync  bool            // all are pending
	whole   bool            // all were taken last
}

// known are the instances as they were published last, by the engine's id of their container.
type known map[string]sdk.Instance

func newRefresher(t *target) *refresher {
	return &refresher{t: t, wake: make(chan struct{}, 1), pending: map[string]bool{}}
}

// all has every instance read again.
func (r *refresher) all() {
	r.mu.Lock()
	r.resync = true
	r.mu.Unlock()
	r.poke()
}

// hear takes an event.
func (r *refresher) hear(m events.Message) {
	id := containerOf(m, r.t.clusters())
	if id == "" {
		return
	}
	if m.Type == events.ContainerEventType {
		r.t.trace(m)
	}
	r.mu.Lock()
	tells, ours := r.tells(m, id)
	if tells {
		r.pending[id] = r.pending[id] || ours
	}
	r.mu.Unlock()
	if tells {
		r.poke()
	}
}

// tells reports whether a container has to be read because of an event. A container's life has eight of them, and reading
// it costs the engine, so what says nothing new is left out: that it was made and has not been started; what somebody
// else's container is connected to; and how an instance ends that is being destroyed, before it is gone. What happens to
// a network does not say whose the container is: while all are being read for the first time, it may be ours.
func (r *refresher) tells(m events.Message, id string) (tells, ours bool) {
	last, known := r.t.lastOf(id)
	switch {
	case m.Type == events.NetworkEventType && !known:
		_, waits := r.pending[id]
		_, read := r.reading[id]
		return waits || read || r.resync || r.whole, false
	case m.Action == events.ActionCreate:
		return false, false
	case m.Action == events.ActionDestroy, m.Action == events.ActionRemove: // the latter is Podman's
		return true, true
	}
	return !known || !r.t.isBuried(last.ID), true
}

// lastOf is an instance as it was published last.
func (t *target) lastOf(container string) (sdk.Instance, bool) {
	t.knownMu.Lock()
	defer t.knownMu.Unlock()
	i, ok := t.known[container]
	return i, ok
}

func (r *refresher) poke() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

func (r *refresher) take() (pending map[string]bool, resync bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	pending, resync = r.pending, r.resync
	r.reading, r.whole = pending, resync
	r.pending, r.resync = map[string]bool{}, false
	return pending, resync
}

// choose returns the containers to be read. One list tells which of those that may be somebody else's are not: a new
// connection hears of whatever the engine's networks had in the last seconds.
func (r *refresher) choose(ctx context.Context, pending map[string]bool) []string {
	var ids, doubtful []string
	for id, ours := range pending {
		if ours {
			ids = append(ids, id)
		} else {
			doubtful = append(doubtful, id)
		}
	}
	if len(doubtful) == 0 {
		return ids
	}
	var ours []string
	for _, cluster := range r.t.clusters() {
		there, err := r.t.containers(ctx, cluster)
		if err != nil {
			return append(ids, doubtful...)
		}
		ours = append(ours, there...)
	}
	foreign := func(id string) bool { return !slices.Contains(ours, id) }
	return append(ids, slices.DeleteFunc(doubtful, foreign)...)
}

// run reads until ctx ends or the engine cannot be read any more, which it returns.
func (r *refresher) run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-r.wake:
		}
		pending, resync := r.take()
		var ids []string
		var err error
		if resync { // which has whatever is pending
			ids, err = r.t.resync(ctx)
		} else {
			ids = r.choose(ctx, pending)
		}
		if err != nil {
			return err
		}
		if failed := r.refresh(ctx, ids); len(failed) > 0 {
			r.later(ctx, failed)
		}
		if resync && ctx.Err() == nil {
			r.t.link.set(nil)
		}
	}
}

// refresh returns the containers that could not be read.
func (r *refresher) refresh(ctx context.Context, ids []string) []string {
	errs := make([]error, len(ids))
	slots := make(chan struct{}, readers)
	var group sync.WaitGroup
	for n, id := range ids {
		slots <- struct{}{}
		group.Go(func() {
			defer func() { <-slots }()
			errs[n] = r.t.refresh(ctx, id)
		})
	}
	group.Wait()
	var failed []string
	for n, err := range errs {
		if err != nil && ctx.Err() == nil {
			r.t.logger.Warn("cannot read a container that something was heard of", "container", ids[n], "error", err)
			failed = append(failed, ids[n])
		}
	}
	return failed
}

// later reads containers again after a while.
func (r *refresher) later(ctx context.Context, ids []string) {
	timer := time.AfterFunc(again, func() {
		r.mu.Lock()
		for _, id := range ids {
			r.pending[id] = true
		}
		r.mu.Unlock()
		r.poke()
	})
	context.AfterFunc(ctx, func() { timer.Stop() })
}

// refresh reads one container and publishes it if it is not what it was.
func (t *target) refresh(ctx context.Context, container string) error {
	c, err := t.inspect(ctx, container)
	switch {
	case sdk.CodeOf(err) == sdk.CodeNotFound:
		t.publishGone(container)
		return nil
	case err != nil:
		return err
	case !t.isOurs(c.ID, c.Name, c.Config.Labels):
		t.publishGone(container)
		return nil
	}
	if neverStarted(c) {
		return nil // of no interest before it was started
	}
	i, err := t.read(ctx, c)
	if err == nil {
		t.publish(container, i)
	}
	return err
}

// resync tidies up what no Create will come back to, and returns every container that is there or was. One that
// cannot be read must not keep the others from being followed, so they are read like any that was heard of.
func (t *target) resync(ctx context.Context) ([]string, error) {
	if err := t.sweep(ctx); err != nil {
		return nil, err
	}
	t.knownMu.Lock()
	ids := slices.Collect(maps.Keys(t.known))
	t.knownMu.Unlock()
	for _, cluster := range t.clusters() {
		there, err := t.containers(ctx, cluster)
		if err != nil {
			return nil, err
		}
		ids = append(ids, there...)
	}
	slices.Sort(ids)
	return slices.Compact(ids), nil
}

func (t *target) publish(container string, i sdk.Instance) {
	t.knownMu.Lock()
	before, was := t.known[container]
	t.known[container] = i
	t.knownMu.Unlock()
	if !was || before.State != i.State || before.Fingerprint != i.Fingerprint {
		t.hub.publish(i)
	}
}

func (t *target) publishGone(container string) {
	t.knownMu.Lock()
	before, was := t.known[container]
	delete(t.known, container)
	t.knownMu.Unlock()
	if was {
		t.hub.publish(gone(before))
	}
}
