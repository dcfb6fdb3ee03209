package control

import (
	"github.com/instarhq/instar/core/rollout"
	"github.com/instarhq/instar/core/state"
)

// NewWithBudget makes a controller whose transactions are full with fewer bytes, so that tests of what
// does not fit into one do not need thousands of instances.
func NewWithBudget(config Config, budget int) *Controller {
	c := New(config)
	c.budget = budget
	return c
}

// Views gives the controller's incremental view of a service's instances, and the whole one to compare.
func Views(st *state.State) (incremental, whole func(*state.View, string) []rollout.Instance, refresh func()) {
	v := newViews(st.Watch())
	incremental = func(view *state.View, service string) []rollout.Instance {
		return v.instances(view, view.Seq(), service, 0)
	}
	whole = func(view *state.View, service string) []rollout.Instance { return instancesOf(view, service, 0) }
	return incremental, whole, v.refresh
}
