package control

import (
	"context"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/rollout"
	"github.com/instarhq/instar/core/state"
)

// keepRollouts is how many rollouts of a service stay as objects. The log keeps all of them.
const keepRollouts = 50

// collect deletes old rollouts of a service and the checks of those that have ended. It reports whether
// there were any.
func collect(tx *state.Tx, view *rollout.View) bool {
	name, found := view.Service.Name, false
	var old []string
	for id, r := range state.Rollouts.By(tx, state.ByService, name) {
		if r.Number <= view.Service.Rollouts-keepRollouts {
			old = append(old, id)
		}
	}
	for _, id := range old {
		state.Rollouts.Delete(tx, id)
		found = true
	}
	var ended []string
	for id, c := range state.Checks.By(tx, state.ByService, name) {
		if r, ok := state.Rollouts.Get(tx, c.Rollout); !ok || r.Phase.Over() {
			ended = append(ended, id)
		}
	}
	for _, id := range ended {
		state.Checks.Delete(tx, id)
		found = true
	}
	return found
}

func removeRoute(tx *state.Tx, name string) {
	for _, id := range idsBy(tx, state.RouteStatuses, state.ByParent, name) {
		state.RouteStatuses.Delete(tx, id)
	}
	state.Routes.Delete(tx, name)
}

// removeService deletes all that is left of a service, the service itself last: as long as it is there
// the planner asks for the rest.
func (w *writer) removeService(tx *state.Tx, name string) {
	for _, id := range idsBy(tx, state.InstanceStatuses, state.ByService, name) {
		state.InstanceStatuses.Delete(tx, id)
	}
	for _, id := range idsBy(tx, state.Checks, state.ByService, name) {
		state.Checks.Delete(tx, id)
	}
	for _, id := range idsBy(tx, state.Rollouts, state.ByService, name) {
		state.Rollouts.Delete(tx, id)
	}
	revisions, mounted := []string(nil), map[string]struct{}{}
	for id, rev := range state.Revisions.By(tx, state.ByService, name) {
		revisions = append(revisions, id)
		for _, m := range rev.Spec.Mounts {
			mounted[core.ConfigID(m.Config, m.Digest)] = struct{}{}
		}
	}
	removeConfigs(tx, name, mounted)
	for _, id := range revisions {
		if w.full(tx) {
			return
		}
		state.Revisions.Delete(tx, id)
	}
	state.Services.Delete(tx, name)
}

// removeConfigs deletes those of the given configs that no revision of another service names.
func removeConfigs(tx *state.Tx, service string, ids map[string]struct{}) {
	if len(ids) == 0 {
		return
	}
	for _, rev := range state.Revisions.All(tx) {
		if rev.Service == service {
			continue
		}
		for _, m := range rev.Spec.Mounts {
			delete(ids, core.ConfigID(m.Config, m.Digest))
		}
	}
	for id := range ids {
		state.Configs.Delete(tx, id)
	}
}

func idsBy[T any](r state.Reader, table state.Table[T], index state.Index, key string) []string {
	var ids []string
	for id := range table.By(r, index, key) {
		ids = append(ids, id)
	}
	return ids
}

// sweepMost bounds how many orphans one sweep deletes.
const sweepMost = 1000

// sweep deletes statuses whose instance or route is gone: an agent may report once more while control
// deletes. What removed nodes have said of themselves goes as well.
func (c *Controller) sweep(ctx context.Context) {
	meta := core.Meta{Principal: principal, Verb: "status.collect", Reason: "what they are about is gone"}
	_, err := c.state.Update(ctx, meta, func(tx *state.Tx) error {
		n := 0
		for id := range orphans(tx, state.InstanceStatuses, func(s core.InstanceStatus) bool {
			return state.Instances.Seq(tx, s.ID) == 0
		}) {
			if n++; n > sweepMost {
				return nil
			}
			state.InstanceStatuses.Delete(tx, id)
		}
		for id := range orphans(tx, state.RouteStatuses, func(s core.RouteStatus) bool {
			lease, shared := state.Leases.Get(tx, core.LeaseID(core.DriverTraffic, s.Driver, s.Target))
			return state.Routes.Seq(tx, s.Route) == 0 || removed(tx, s.Node) || (shared && lease.Node != "" && lease.Node != s.Node)
		}) {
			if n++; n > sweepMost {
				return nil
			}
			state.RouteStatuses.Delete(tx, id)
		}
		forgetRemoved(tx)
		return nil
	})
	if err != nil && ctx.Err() == nil {
		c.log.Warn("orphaned statuses cannot be deleted, trying again", "in", resyncEvery, "error", err)
	}
}

func orphans[T any](r state.Reader, table state.Table[T], is func(T) bool) map[string]struct{} {
	out := map[string]struct{}{}
	for id, v := range table.All(r) {
		if is(v) {
			out[id] = struct{}{}
		}
	}
	return out
}

// forgetRemoved deletes what removed nodes have published: nobody else would.
func forgetRemoved(tx *state.Tx) {
	for name, m := range state.Members.All(tx) {
		if m.State != core.MemberRemoved {
			continue
		}
		state.Nodes.Delete(tx, name)
		state.NodeStatuses.Delete(tx, name)
		for _, id := range idsBy(tx, state.Drivers, state.ByNode, name) {
			state.Drivers.Delete(tx, id)
		}
	}
}
