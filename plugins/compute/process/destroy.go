package process

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/instarhq/instar/plugins/durable"
	"github.com/instarhq/instar/sdk"
)

// Destroy implements sdk.Compute.
func (d *Driver) Destroy(ctx context.Context, id string, grace time.Duration) error {
	t, err := d.bound()
	if err != nil {
		return err
	}
	if checkID(id) != nil {
		return nil // no instance can have it
	}
	ctx, done, err := t.begin(ctx)
	if err != nil {
		return err
	}
	defer done()
	unlock, err := t.work.Lock(ctx, id)
	if err != nil {
		return err
	}
	defer unlock()
	return durable.Explain(t.destroy(ctx, id, grace), t.dir)
}

// destroy is Destroy with the instance's work lock. Also an id that is not known is buried: the Create
// that it belongs to may still be on its way.
func (t *target) destroy(ctx context.Context, id string, grace time.Duration) error {
	full := t.bury(id)
	if full != nil && !errors.Is(full, syscall.ENOSPC) {
		return full
	}
	crash("buried")
	i, err := t.find(id)
	if err != nil {
		return full
	}
	if err := t.settle(ctx, i); err != nil {
		return err
	}
	if err := t.end(ctx, i, grace); err != nil {
		return err
	}
	crash("ended")
	last := i.describe()
	last.State = sdk.StateDestroyed
	_, last.Exit = i.status()
	if err := t.remove(ctx, i); err != nil {
		return err
	}
	t.hub.destroyed(last)
	if full != nil {
		return t.bury(id) // there is room now
	}
	return nil
}

// end asks the instance to stop, gives it up to grace, and kills what is left.
func (t *target) end(ctx context.Context, i *instance, grace time.Duration) error {
	i.mu.Lock()
	i.stopping = true
	i.mu.Unlock()
	if i.running() && grace > 0 {
		if err := i.signal(syscall.Signal(i.rec.StopSignal)); err != nil {
			return err
		}
		if err := t.awaitEmpty(ctx, i, time.Now().Add(grace)); err != nil {
			return err
		}
	}
	if err := i.killAll(ctx); err != nil {
		return err
	}
	if !i.running() {
		return nil
	}
	select {
	case <-i.ended:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// awaitEmpty waits until no process of the instance is left, or until the deadline.
func (t *target) awaitEmpty(ctx context.Context, i *instance, deadline time.Time) error {
	timer := time.NewTimer(time.Until(deadline))
	defer timer.Stop()
	select {
	case <-i.ended:
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	// Nobody tells when the processes go that the main one has left behind.
	for wait := 2 * time.Millisecond; time.Now().Before(deadline); wait = min(2*wait, 100*time.Millisecond) {
		left, err := i.members()
		if err != nil || len(left) == 0 {
			return err
		}
		if err := pause(ctx, wait); err != nil {
			return err
		}
	}
	return nil
}

// remove removes all that was made for an instance of which no process is left. It can be repeated.
func (t *target) remove(ctx context.Context, i *instance) error {
	if err := i.group.Remove(ctx); err != nil {
		return err
	}
	t.logs.Remove(i.rec.ID)
	gone := t.instanceDir(gonePrefix + i.rec.ID)
	if err := durable.Rename(i.dir, gone); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	crash("renamed")
	if err := durable.RemoveTree(gone); err != nil {
		return err
	}
	if err := durable.SyncDir(filepath.Dir(gone)); err != nil {
		return err
	}
	t.drop(i.rec.ID)
	t.giveBack(i.rec)
	return nil
}
