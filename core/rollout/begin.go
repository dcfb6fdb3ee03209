package rollout

import (
	"fmt"
	"time"

	"github.com/instarhq/instar/core"
)

// Change is what an operator's verb changes. Rollouts that are nil are none.
type Change struct {
	Service core.Service
	Ended   *core.Rollout // the one in progress, superseded or asked to abort
	Begun   *core.Rollout // a new one
}

// Start describes a rollout to begin.
type Start struct {
	To     int // the revision, which View.Specs must have
	Count  int // the service's count from now on
	Kind   core.RolloutKind
	Reason string
}

// Begin starts a rollout. One that has not switched is superseded; one that has ends where it is, and
// its revision is the one to replace. Going to the revision that has the traffic already begins nothing.
func Begin(v View, start Start, now time.Time) (Change, error) {
	now = now.UTC().Round(0)
	if err := usable(&v); err != nil {
		return Change{}, err
	}
	c := Change{Service: v.Service}
	s := &c.Service
	fromCount, others, r := s.Count, []int(nil), v.current()
	switch {
	case r == nil:
	case r.Phase >= core.RolloutSwitching && start.To == s.Active:
		return Scale(v, start.Count)
	case len(r.Others) > 0 && start.To == s.Active:
		return endWithOthers(c, r, &start), nil
	default:
		ended, err := supersede(r, s, start.To, now)
		if err != nil {
			return Change{}, err
		}
		c.Ended = ended
		if r.Phase < core.RolloutSwitching && r.From != 0 {
			fromCount = r.FromCount
		}
		others = r.ServeToo()
		s.Previous, s.KeepUntil = 0, time.Time{}
	}
	s.Count, s.Revision = start.Count, start.To
	if start.To == s.Active {
		return c, nil
	}
	s.Rollouts++
	c.Begun = &core.Rollout{
		Format: core.Format, Service: s.Name, Number: s.Rollouts, Kind: start.Kind,
		From: s.Active, To: start.To, Started: now, Reason: start.Reason,
		Deadline: now.Add(progressDeadline(v.spec(start.To))),
	}
	if s.Active != 0 {
		c.Begun.FromCount, c.Begun.Rolling = fromCount, rollingOf(&v, c.Begun)
		if goesOn(&c, r, others, now) {
			return c, nil
		}
	}
	enter(c.Begun, core.RolloutProvisioning, start.Reason, now)
	return c, nil
}

// usable refuses a service that is being deleted.
func usable(v *View) error {
	if !v.Service.Deleting {
		return nil
	}
	return core.Errorf(core.CodeConflict, "service %q is being deleted", v.Service.Name).
		WithObject(core.KindService, v.Service.Name).WithHint("wait until `instar service show %s` no longer finds it, then apply again", v.Service.Name)
}

// supersede ends the rollout in progress in favour of one to another revision.
func supersede(r *core.Rollout, s *core.Service, to int, now time.Time) (*core.Rollout, error) {
	switch {
	case r.Phase == core.RolloutRollingBack && !stepwise(r):
		return nil, core.Errorf(core.CodeConflict, "rollout %s is rolling back to revision %d", r.ID(), r.From).
			WithObject(core.KindRollout, r.ID()).WithHint("wait until `instar rollout show %s` says rolled_back, then try again", r.ID())
	case r.To == to && r.To != s.Active && r.Phase != core.RolloutRollingBack:
		return nil, core.Errorf(core.CodeConflict, "rollout %s is on its way to revision %d already", r.ID(), to).
			WithObject(core.KindRollout, r.ID()).WithHint("follow it with `instar rollout watch %s`", r.ID())
	}
	ended := *r
	ended.History = append([]core.PhaseEntry(nil), r.History...)
	note := fmt.Sprintf("superseded by a rollout to revision %d", to)
	phase := core.RolloutSuperseded
	if r.Phase == core.RolloutRetiring {
		phase = core.RolloutSucceeded
	}
	enter(&ended, phase, note, now)
	return &ended, nil
}

// Scale changes the count, also that of a revision that is about to be replaced.
func Scale(v View, count int) (Change, error) {
	if err := usable(&v); err != nil {
		return Change{}, err
	}
	if count < 0 {
		return Change{}, core.Errorf(core.CodeInvalid, "service %q cannot have %d instances", v.Service.Name, count).
			WithObject(core.KindService, v.Service.Name).WithHint("give a count of 0 or more")
	}
	c := Change{Service: v.Service}
	c.Service.Count = count
	if r := v.current(); r != nil && r.From != 0 && r.FromCount != count {
		ended := *r
		ended.FromCount = count
		c.Ended = &ended
	}
	return c, nil
}

// Delete makes everything of the service go. A rollout in progress ends.
func Delete(v View, now time.Time) Change {
	c := Change{Service: v.Service}
	c.Service.Deleting = true
	c.Service.Previous, c.Service.KeepUntil = 0, time.Time{}
	if r := v.current(); r != nil && !v.Service.Deleting {
		ended := *r
		ended.History = append([]core.PhaseEntry(nil), r.History...)
		enter(&ended, core.RolloutSuperseded, "the service is deleted", now.UTC().Round(0))
		c.Ended = &ended
	}
	return c
}
