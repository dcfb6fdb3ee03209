package control

import (
	"reflect"
	"time"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/place"
	"github.com/instarhq/instar/core/rollout"
	"github.com/instarhq/instar/core/state"
)

const (
	// maxBytes is how much of a decision is written in one transaction. What must be in it (service,
	// rollout, routes) may take more, up to core.MaxTxnBytes.
	maxBytes = core.MaxTxnBytes - 1<<20
	// instanceBytes is about what a new instance takes in a record.
	instanceBytes = 512
)

// writer writes a decision into a transaction, as far as it fits.
type writer struct {
	budget int
	now    time.Time
	// create writes new instances, at most as many as there is room and budget for; nil: none are made.
	create func(w *writer, tx *state.Tx, view *rollout.View, c rollout.Create)

	more    bool     // not everything fitted
	created []string // ids of the new instances
	noRoom  string   // why there are fewer than wanted
}

func (w *writer) reset(now time.Time) {
	w.now, w.more, w.created, w.noRoom = now.UTC().Round(0), false, nil, ""
}

func (w *writer) full(tx *state.Tx) bool {
	if tx.Size() < w.budget {
		return false
	}
	w.more = true
	return true
}

func (w *writer) write(tx *state.Tx, view *rollout.View, d *rollout.Decision) {
	name := view.Service.Name
	if d.Service != nil {
		state.Services.Put(tx, name, *d.Service)
	} else {
		defer w.guard(tx, view, d)
	}
	if d.Rollout != nil {
		state.Rollouts.Put(tx, d.Rollout.ID(), *d.Rollout)
	}
	for i := range d.Routes {
		state.Routes.Put(tx, d.Routes[i].Name, d.Routes[i])
	}
	for _, route := range d.RemoveRoutes {
		removeRoute(tx, route)
	}
	for i := range d.Instances {
		if w.full(tx) {
			return
		}
		state.Instances.Put(tx, d.Instances[i].ID, d.Instances[i])
	}
	for _, id := range d.Forget {
		if w.full(tx) {
			return
		}
		state.InstanceStatuses.Delete(tx, id)
		state.Instances.Delete(tx, id)
	}
	for _, c := range d.Create {
		if w.create != nil && !w.full(tx) {
			w.create(w, tx, view, c)
		}
	}
	if d.RemoveService {
		w.removeService(tx, name)
	}
}

// guard writes the service as it is if the transaction makes instances or sends some away: two of them that
// know nothing of each other, of which the second is one too many, then cannot both be committed.
func (w *writer) guard(tx *state.Tx, view *rollout.View, d *rollout.Decision) {
	if !d.RemoveService && (len(w.created) > 0 || sendsAway(view, d)) {
		state.Services.Put(tx, view.Service.Name, view.Service)
	}
}

// sendsAway reports whether a decision ends what was wanted to run.
func sendsAway(view *rollout.View, d *rollout.Decision) bool {
	i := 0
	for j := range d.Instances { // both are in the order of ids
		for i < len(view.Instances) && view.Instances[i].ID != d.Instances[j].ID {
			i++
		}
		if i < len(view.Instances) && view.Instances[i].Desired == core.DesiredRun && d.Instances[j].Desired != core.DesiredRun {
			return true
		}
	}
	return false
}

// change writes what an operator's verb changes.
func (w *writer) change(tx *state.Tx, view *rollout.View, c *rollout.Change) {
	if !reflect.DeepEqual(c.Service, view.Service) {
		state.Services.Put(tx, c.Service.Name, c.Service)
	}
	for _, r := range []*core.Rollout{c.Ended, c.Begun} {
		if r != nil {
			state.Rollouts.Put(tx, r.ID(), *r)
		}
	}
}

// create makes instances where there is room.
func (c *Controller) create(w *writer, tx *state.Tx, view *rollout.View, want rollout.Create) {
	spec := view.Specs[want.Revision]
	if spec == nil {
		return
	}
	count := want.Count
	if fit := max(1, (w.budget-tx.Size())/instanceBytes); fit < count {
		count, w.more = fit, true
	}
	service := view.Service.Name
	ids, keys, why := c.places.take(requestOf(service, want.Revision, count, spec), computeTargets(tx),
		func() string { return c.newID(service) })
	w.created = append(w.created, ids...)
	if why != "" {
		w.noRoom, w.more = why, false
	}
	for i, id := range ids {
		state.Instances.Put(tx, id, core.Instance{
			Format: core.Format, ID: id, Service: service, Revision: want.Revision,
			Node: keys[i].Node, Driver: keys[i].Driver, Target: keys[i].Name,
			Desired: core.DesiredRun, Created: w.now,
		})
	}
}

func requestOf(service string, revision, count int, spec *core.Spec) place.Request {
	return place.Request{
		Service: service, Revision: revision, Count: count, Resources: spec.Resources,
		Driver: spec.Compute.Driver, Target: spec.Compute.Target, Constraints: spec.Constraints, Spread: spec.Spread,
	}
}
