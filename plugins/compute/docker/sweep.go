package docker

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/instarhq/instar/sdk"
)

// sweep removes what a Create or a Destroy has left that crashed in between: containers of this node that were
// never started, and folders of instances that have no container.
func (t *target) sweep(ctx context.Context) error {
	there := map[string]bool{}
	for _, cluster := range t.clusters() {
		ids, err := t.containers(ctx, cluster)
		if err != nil {
			return err
		}
		for _, id := range ids {
			c, err := t.inspect(ctx, id)
			if sdk.CodeOf(err) == sdk.CodeNotFound {
				continue
			}
			if err != nil {
				return err
			}
			labels := c.Config.Labels
			there[labels[labelInstance]] = true
			if neverStarted(c) && labels[labelNode] == t.nodeName() {
				if err := t.sweepContainer(ctx, labels[labelInstance], id); err != nil {
					return err
				}
			}
		}
	}
	return t.sweepFolders(ctx, there)
}

// sweepContainer removes a container that was never started, unless a Create is just about to.
func (t *target) sweepContainer(ctx context.Context, instance, container string) error {
	unlock, ok := t.tryLock(ctx, instance)
	if !ok {
		return nil
	}
	defer unlock()
	c, err := t.inspect(ctx, container)
	if err != nil || !neverStarted(c) {
		if sdk.CodeOf(err) == sdk.CodeNotFound {
			return nil
		}
		return err
	}
	t.logger.Info("removing a container that was never started", "instance", instance, "container", container)
	if err := t.discard(ctx, container); err != nil {
		return err
	}
	if _, err := t.inspect(ctx, container); sdk.CodeOf(err) != sdk.CodeNotFound {
		return err // started after all, or not gone yet
	}
	return t.forget(instance)
}

func (t *target) sweepFolders(ctx context.Context, there map[string]bool) error {
	entries, err := os.ReadDir(filepath.Join(t.dir, instancesDir))
	if err != nil {
		return err
	}
	for _, e := range entries {
		id := e.Name()
		if there[id] {
			continue
		}
		unlock, ok := t.tryLock(ctx, id)
		if !ok {
			continue
		}
		err := t.sweepFolder(ctx, id)
		unlock()
		if err != nil {
			return err
		}
	}
	return nil
}

func (t *target) sweepFolder(ctx context.Context, id string) error {
	rec, err := t.readRecord(id)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	// The list may be from before the container was made, and a cluster that is no longer ours not in it.
	if err == nil {
		if _, err = t.inspect(ctx, rec.Container); err == nil {
			return nil
		}
	} else {
		_, err = t.find(ctx, id)
	}
	if sdk.CodeOf(err) != sdk.CodeNotFound {
		return err
	}
	return t.forget(id)
}

// tryLock takes the work lock of an id only if nobody has it.
func (t *target) tryLock(ctx context.Context, id string) (unlock func(), ok bool) {
	now, cancel := context.WithTimeout(ctx, briefly)
	defer cancel()
	unlock, err := t.work.Lock(now, id)
	return unlock, err == nil
}

func (t *target) nodeName() string {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.node
}
