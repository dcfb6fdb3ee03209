package control

import (
	"time"

	"github.com/instarhq/instar/core/place"
	"github.com/instarhq/instar/core/rollout"
	"github.com/instarhq/instar/core/state"
)

// Waiting says in a sentence for people what a service waits for, by planning its next step without
// writing it; empty: nothing. Any node can tell, from its own view.
func Waiting(view *state.View, service string, now time.Time) string {
	v, ok := viewOf(view, service, view.Seq())
	if !ok {
		return ""
	}
	d := rollout.Plan(v, now)
	for _, c := range d.Create {
		spec := v.Specs[c.Revision]
		if spec == nil {
			continue
		}
		ledger := place.NewLedger()
		for id, inst := range state.Instances.All(view) {
			ledger.Set(id, claimOf(view, &inst))
		}
		if _, why := ledger.Place(requestOf(service, c.Revision, c.Count, spec), computeTargets(view)); why != "" {
			return why
		}
	}
	return d.Waiting
}
