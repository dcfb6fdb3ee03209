package driverhost

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"sync"

	"github.com/instarhq/instar/sdk/launch"
)

// The state directory can be lost while drivers run. Nobody can attach to those processes any more: their
// keys are lost, too. But what they hold, such as a listener, stands in the way of their successors, or is
// what a successor has to take over. So they are ended, once a new process of the target is configured.

// endLost ends the target's processes whose launch directories are gone.
func (t *target) endLost(ctx context.Context) {
	lost, err := launch.FindLost(t.launchRoot())
	if err == nil {
		err = endAll(ctx, t.host, lost)
	}
	if err != nil && ctx.Err() == nil {
		t.log.Error("ending driver processes whose state was lost", "error", err)
	}
}

// endLost ends such processes of the targets that which selects.
func (h *Host) endLost(ctx context.Context, which func(targetKey) bool) error {
	root := filepath.Join(h.cfg.StateDir, "targets")
	lost, err := launch.FindLost(root)
	if err != nil {
		return err
	}
	var selected []launch.State
	for _, s := range lost {
		name, _, _ := strings.Cut(strings.TrimPrefix(s.Dir, root+"/"), "/")
		if key, ok := parseDir(name); ok && which(key) {
			selected = append(selected, s)
		}
	}
	return endAll(ctx, h, selected)
}

func endAll(ctx context.Context, h *Host, lost []launch.State) error {
	errs := make([]error, len(lost))
	var group sync.WaitGroup
	for i, s := range lost {
		h.log.Warn("ending a driver process whose state was lost", "pid", s.PID, "dir", s.Dir)
		group.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, h.timing.stop)
			defer cancel()
			errs[i] = launch.Terminate(ctx, s)
		})
	}
	group.Wait()
	return errors.Join(errs...)
}
