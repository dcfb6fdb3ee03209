package rollout

import (
	"time"

	"github.com/instarhq/instar/core"
)

// Abort asks the rollout in progress to end: before the switch it fails, after it the traffic goes back.
func Abort(v View, reason string) (Change, error) {
	name := v.Service.Name
	r := v.current()
	if r == nil {
		return Change{}, core.Errorf(core.CodeConflict, "service %q has no rollout in progress", name).
			WithObject(core.KindService, name).WithHint("go back to an older revision with `instar rollback %s`", name)
	}
	conflict := func(format string, args ...any) *core.Error {
		return core.Errorf(core.CodeConflict, format, args...).WithObject(core.KindRollout, r.ID())
	}
	switch {
	case v.Service.Deleting:
		return Change{}, usable(&v)
	case r.Phase == core.RolloutRetiring:
		return Change{}, conflict("rollout %s is done: only revision %d, which is kept warm, is left to retire", r.ID(), r.From).
			WithHint("go back with `instar rollback %s`", name)
	case r.Phase == core.RolloutRollingBack:
		return Change{}, conflict("rollout %s is rolling back already", r.ID()).
			WithHint("follow it with `instar rollout watch %s`", r.ID())
	case r.Phase >= core.RolloutSwitching && r.From == 0:
		return Change{}, conflict("rollout %s cannot go back: no revision was active before %d", r.ID(), r.To).
			WithHint("apply a better one, or end the service with `instar service delete %s`", name)
	case r.AbortAsked != "":
		return Change{Service: v.Service}, nil
	}
	ended := *r
	ended.AbortAsked = reason
	return Change{Service: v.Service, Ended: &ended}, nil
}

// Rollback goes back to revision to, or for 0 to the last other one that was good. While a rollout has
// not been baked, and to is what it came from, that is an abort. history is every rollout of the service
// that is still known.
func Rollback(v View, to int, history []core.Rollout, reason string, now time.Time) (Change, error) {
	if err := usable(&v); err != nil {
		return Change{}, err
	}
	name := v.Service.Name
	if r := v.current(); r != nil && (r.Phase < core.RolloutRetiring || r.Phase == core.RolloutRollingBack && stepwise(r)) && (to == 0 || to == r.From) {
		return Abort(v, reason)
	}
	if to == 0 {
		if to = lastGood(&v, history); to == 0 {
			return Change{}, core.Errorf(core.CodeConflict, "service %q has no other revision that was good once", name).
				WithObject(core.KindService, name).WithHint("name a revision: `instar service history %s` lists them", name)
		}
	}
	if v.Specs[to] == nil {
		return Change{}, core.Errorf(core.CodeNotFound, "service %q has no revision %d", name, to).
			WithObject(core.KindRevision, core.RevisionID(name, to)).WithHint("`instar service history %s` lists them", name)
	}
	if to == v.Service.Active {
		return Change{}, core.Errorf(core.CodeConflict, "revision %d of service %q has the traffic already", to, name).
			WithObject(core.KindService, name)
	}
	return Begin(v, Start{To: to, Count: v.Service.Count, Kind: core.RolloutRollback, Reason: reason}, now)
}

// lastGood is the warm revision, or the newest other one that a rollout ended well with; 0: none.
func lastGood(v *View, history []core.Rollout) int {
	if v.Service.Previous != 0 {
		return v.Service.Previous
	}
	best := 0
	for i := range history {
		r := &history[i]
		if r.Phase.Good() && r.To != v.Service.Active && r.Number > best {
			best = r.Number
		}
	}
	for i := range history {
		if history[i].Number == best {
			return history[i].To
		}
	}
	return 0
}
