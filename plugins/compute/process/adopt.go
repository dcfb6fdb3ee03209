package process

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/instarhq/instar/plugins/compute/process/launch"
	"github.com/instarhq/instar/plugins/durable"
	"github.com/instarhq/instar/sdk"
)

// Directories become instances, and cease to be, by a rename: those with these prefixes are being filled,
// or emptied.
const (
	newPrefix  = ".new-"
	gonePrefix = ".gone-"
)

// adoptAll takes up every instance that the state directory knows. One that cannot be read stops it: an
// instance that is overlooked would be made a second time.
func (t *target) adoptAll(cluster string) error {
	if err := t.findLost(cluster); err != nil {
		return err
	}
	entries, err := os.ReadDir(filepath.Join(t.dir, "instances"))
	if err != nil {
		return err
	}
	for _, entry := range entries {
		dir := filepath.Join(t.dir, "instances", entry.Name())
		if strings.HasPrefix(entry.Name(), ".") {
			if err := durable.RemoveTree(dir); err != nil {
				return fmt.Errorf("remove what a crash left half made or half removed: %w", err)
			}
			continue
		}
		rec, err := readRecord(dir)
		if err != nil {
			return fmt.Errorf("an instance's record cannot be read; repair it, or end its processes and remove %s: %w", dir, err)
		}
		if err := t.adopt(rec); err != nil {
			return err
		}
	}
	if err := t.groups.Sweep(t.knows); err != nil {
		t.logger.Warn("control groups of earlier instances cannot be removed", "error", err)
	}
	return t.pruneTombstones(time.Now())
}

func (t *target) knows(id string) bool {
	_, err := t.find(id)
	return err == nil
}

// adopt takes up one instance as an earlier process left it.
func (t *target) adopt(rec record) error {
	i := t.newInstance(rec)
	t.ports.Restore(rec.ID, rec.Ports)
	if rec.OwnUser {
		t.users.restore(rec.ID, *rec.Plan.UID)
	}
	if err := t.logs.Add(rec.ID, i.dir, rec.LogBytes); err != nil {
		return durable.Explain(err, t.dir)
	}
	t.add(i)
	if err := t.pickUp(i); err != nil {
		return err
	}
	if state, _ := i.status(); state == sdk.StateCreating {
		// A launcher may still be on its way; whether it is, is not worth keeping Configure waiting.
		t.waiting.Go(func() { t.settleLater(i) })
	}
	return nil
}

func (t *target) settleLater(i *instance) {
	ctx, cancel := context.WithTimeout(context.Background(), launchFor)
	defer cancel()
	unlock, err := t.work.Lock(ctx, i.rec.ID)
	if err != nil {
		return // somebody else is at it
	}
	defer unlock()
	if !t.knows(i.rec.ID) {
		return // destroyed meanwhile
	}
	if err := t.settle(ctx, i); err != nil {
		t.logger.Warn("an interrupted Create is not settled; repeating it will", "instance", i.rec.ID, "error", err)
	}
}

// pickUp finds out what became of an instance that another process of the driver has, or may have,
// started.
func (t *target) pickUp(i *instance) error {
	exit, err := readExit(i.dir)
	if err != nil {
		return err
	}
	id, started, err := launch.Started(i.dir)
	if err != nil {
		return err
	}
	switch {
	case exit != nil:
		i.mu.Lock()
		defer i.mu.Unlock()
		i.id, i.state, i.exit, i.started = id, sdk.StateExited, exit, i.startTime()
		close(i.ended)
		return nil
	case started:
		return t.follow(i, id)
	}
	return nil // Create has not come that far; it will be called again, or Destroy
}

// settle waits until it is certain whether an instance that this process has not started was started, by
// a launcher that has outlived its driver. It is called with the instance's work lock.
func (t *target) settle(ctx context.Context, i *instance) error {
	state, _ := i.status()
	if state != sdk.StateCreating {
		return nil
	}
	deadline := time.Now().Add(launchFor)
	if by, ok := ctx.Deadline(); ok && by.Before(deadline) {
		deadline = by
	}
	release, err := launch.AwaitStage(i.dir, deadline)
	if err != nil {
		return sdk.Unavailable(time.Second, "instance %s: a launcher from before the driver's restart is still at work: %w", i.rec.ID, err)
	}
	defer release()
	return t.pickUp(i)
}
