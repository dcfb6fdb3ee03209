package control

import (
	"context"
	"fmt"
	"strings"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/rollout"
	"github.com/instarhq/instar/core/state"
)

// Rollback goes back to revision to; 0: what was there before. While a rollout has not been baked that
// is an abort. If the revision is warm, the answer comes after the transaction that moved the traffic.
func (o *Operations) Rollback(ctx context.Context, meta core.Meta, service string, to int) (core.Applied, error) {
	reason := "rollback asked for by " + meta.Principal
	return o.verb(ctx, meta, service, func(tx *state.Tx, view *rollout.View) (rollout.Change, error) {
		var history []core.Rollout
		for _, r := range state.Rollouts.By(tx, state.ByService, service) {
			history = append(history, r)
		}
		for _, rev := range state.Revisions.By(tx, state.ByService, service) {
			addSpec(tx, view, rev.Number)
		}
		c, err := rollout.Rollback(*view, to, history, reason, o.now())
		if err != nil || c.Begun == nil {
			return c, err
		}
		return c, checkRoutes(tx, service, view.Specs[c.Begun.To])
	})
}

// Scale changes the number of instances.
func (o *Operations) Scale(ctx context.Context, meta core.Meta, service string, count int) (core.Applied, error) {
	applied, err := o.verb(ctx, meta, service, func(_ *state.Tx, view *rollout.View) (rollout.Change, error) {
		for _, revision := range []int{view.Service.Active, view.Service.Revision} {
			if s := view.Specs[revision]; s != nil {
				if err := checkSize(service, count, s); err != nil {
					return rollout.Change{}, err
				}
			}
		}
		return rollout.Scale(*view, count)
	})
	applied.Rollouts = nil // it is part of none
	return applied, err
}

// Delete makes a service and everything of it go.
func (o *Operations) Delete(ctx context.Context, meta core.Meta, service string) (core.Applied, error) {
	applied, err := o.verb(ctx, meta, service, func(_ *state.Tx, view *rollout.View) (rollout.Change, error) {
		return rollout.Delete(*view, o.now()), nil
	})
	applied.Rollouts = nil
	return applied, err
}

// Abort ends a rollout that is in progress: before the switch it fails, after it the traffic goes back.
func (o *Operations) Abort(ctx context.Context, meta core.Meta, id string) (core.Applied, error) {
	service, _, _ := strings.Cut(id, "/")
	return o.verb(ctx, meta, service, func(tx *state.Tx, view *rollout.View) (rollout.Change, error) {
		r, ok := state.Rollouts.Get(tx, id)
		switch {
		case !ok:
			return rollout.Change{}, core.Errorf(core.CodeNotFound, "there is no rollout %q", id).
				WithObject(core.KindRollout, id).WithHint("`instar rollout list` shows those there are")
		case r.Phase.Over():
			return rollout.Change{}, core.Errorf(core.CodeConflict, "rollout %s has ended already: %s", id, r.Phase).
				WithObject(core.KindRollout, id).WithHint("go back to an older revision with `instar rollback %s`", service)
		}
		return rollout.Abort(*view, "abort asked for by "+meta.Principal)
	})
}

// ReplaceInstance has another instance made in the place of one, which goes when the other serves.
func (o *Operations) ReplaceInstance(ctx context.Context, meta core.Meta, instance string) (core.Applied, error) {
	receipt, err := o.state.Update(ctx, meta, func(tx *state.Tx) error {
		inst, ok := state.Instances.Get(tx, instance)
		switch {
		case !ok:
			return core.Errorf(core.CodeNotFound, "there is no instance %q", instance).
				WithObject(core.KindInstance, instance).WithHint("`instar instance list` shows those there are")
		case inst.Desired != core.DesiredRun:
			return core.Errorf(core.CodeConflict, "instance %s is on its way out already: %s", instance, inst.Reason).
				WithObject(core.KindInstance, instance)
		case inst.Reason != "":
			return nil // is being replaced
		}
		inst.Reason = fmt.Sprintf("replacement asked for by %s", meta.Principal)
		state.Instances.Put(tx, instance, inst)
		return nil
	})
	return core.Applied{Receipt: receipt}, err
}
