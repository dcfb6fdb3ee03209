package rollout

import (
	"fmt"
	"slices"
	"time"

	"github.com/instarhq/instar/core"
)

// rollingOf are the bounds of a rollout that begins, nil if it goes all at once. A way back goes as the way
// there did.
func rollingOf(v *View, r *core.Rollout) *core.Rolling {
	revision := r.To
	if r.Kind == core.RolloutRollback {
		revision = r.From
	}
	spec := &v.spec(revision).Rollout
	if spec.Strategy != core.StrategyRolling {
		return nil
	}
	return &core.Rolling{MaxSurge: spec.MaxSurge, MaxUnavailable: spec.MaxUnavailable}
}

// stepwise reports whether instances are replaced a few at a time, in the phase that the rollout is in.
func stepwise(r *core.Rollout) bool {
	if r.Phase == core.RolloutRollingBack && r.SwitchedAt.IsZero() {
		return true // what served with From before is going
	}
	return r.Rolling != nil
}

// goesOn notes the revisions that serve beside From when a rollout begins that supersedes r. If the one that it
// goes to is among them it has been verified, and must not stop serving: it goes on step by step at once.
func goesOn(c *Change, r *core.Rollout, others []int, now time.Time) bool {
	begun := c.Begun
	begun.Others = slices.DeleteFunc(slices.Clone(others), func(revision int) bool { return revision == begun.To })
	if len(begun.Others) == len(others) {
		return false
	}
	if begun.Rolling == nil {
		said := unasked
		if r.Rolling != nil {
			said = core.Rolling{MaxSurge: r.Rolling.MaxSurge, MaxUnavailable: r.Rolling.MaxUnavailable}
		}
		begun.Rolling = &said
	}
	begun.SwitchedAt, c.Service.Active, c.Service.Backoff = now, begun.To, nil
	enter(begun, core.RolloutSwitching, begun.Reason, now)
	return true
}

// endWithOthers ends a rollout that has not switched, in favour of the revision that is active and does not
// serve alone yet.
func endWithOthers(c Change, r *core.Rollout, start *Start) Change {
	ended := *r
	ended.FromCount = start.Count
	if ended.AbortAsked == "" {
		ended.AbortAsked = fmt.Sprintf("revision %d is wanted again", start.To)
	}
	c.Service.Count, c.Service.Revision = start.Count, start.To
	c.Ended = &ended
	return c
}
