package control

import (
	"time"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/recovery"
	"github.com/instarhq/instar/core/rollout"
	"github.com/instarhq/instar/core/state"
)

// afterRestore is what a restore asks of a service's routes.
func afterRestore(r state.Reader, v *rollout.View) (floor uint64, hold time.Time) {
	if floor = recovery.Floor(r); floor == 0 {
		return 0, time.Time{}
	}
	under := recovery.Under(r)
	if spec := v.Specs[v.Service.Active]; spec != nil && !under.Approved.IsZero() {
		hold = under.Approved.Add(spec.Rollout.ProgressDeadline.Std())
	}
	return floor, hold
}

// notWhileLooking refuses what would change something while a restore waits for its approval.
func notWhileLooking(r state.Reader) error {
	if !recovery.Looking(r) {
		return nil
	}
	return core.Errorf(core.CodeConflict, "the cluster has been restored from a snapshot and waits for the recovery's approval; nothing is changed before").
		WithHint("look at it with `instar recovery show`, then `instar recovery approve`")
}
