package control

import (
	"context"
	"fmt"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/rollout"
	"github.com/instarhq/instar/core/spec"
	"github.com/instarhq/instar/core/state"
)

// Apply makes what set declares wanted, in one transaction for all of its services: it stores new
// revisions and configs and begins the rollouts. expect names the Seq of each service that a plan was
// made against; if another revision or count is wanted by now, the answer is CodeConflict.
func (o *Operations) Apply(ctx context.Context, meta core.Meta, set core.Set, expect map[string]uint64) (core.Applied, error) {
	set, err := o.admit(ctx, set)
	if err != nil {
		return core.Applied{}, err
	}
	return o.applySet(ctx, meta, set, expect, "apply")
}

// applySet is Apply for a set that is normalised and pinned; reason is that of the rollouts.
func (o *Operations) applySet(ctx context.Context, meta core.Meta, set core.Set, expect map[string]uint64, reason string) (core.Applied, error) {
	var applied core.Applied
	var err error
	applied.Receipt, err = o.state.Update(ctx, meta, func(tx *state.Tx) error {
		plan := core.Plan{}
		applied.Rollouts, applied.Plan = nil, &plan
		if err := notWhileLooking(tx); err != nil {
			return err
		}
		for name, seq := range expect {
			if err := o.unchanged(ctx, tx, name, seq); err != nil {
				return err
			}
		}
		for i := range set.Services {
			sp, err := o.planService(tx, &set.Services[i])
			if err != nil {
				return err
			}
			plan.Services = append(plan.Services, sp)
		}
		if err := checkSet(tx, set, &plan); err != nil {
			return err
		}
		w := writer{budget: maxBytes}
		w.reset(o.now())
		for i := range set.Services {
			begun, err := w.applyService(tx, &set.Services[i], &plan.Services[i], set.Configs, reason)
			if err != nil {
				return err
			}
			applied.Rollouts = append(applied.Rollouts, begun...)
		}
		if tx.Size() > core.MaxTxnBytes {
			return core.Errorf(core.CodeTooLarge, "applying %d services takes %d bytes, one transaction has at most %d",
				len(set.Services), tx.Size(), core.MaxTxnBytes).WithHint("apply fewer services, or smaller configs, at a time")
		}
		return nil
	})
	if err != nil {
		return core.Applied{}, err
	}
	return o.replayed(ctx, applied)
}

// admit checks and normalises a set, and pins its artifacts.
func (o *Operations) admit(ctx context.Context, set core.Set) (core.Set, error) {
	set, err := spec.Admit(set, o.schemas)
	if err != nil {
		return core.Set{}, err
	}
	for i := range set.Services {
		d := &set.Services[i]
		source := d.Spec.Artifact.Source
		if source == "" {
			continue // the driver needs none
		}
		pinned, err := o.resolver.Resolve(ctx, d.Spec.Compute, d.Spec.Artifact)
		if err != nil {
			if e, ok := core.AsError(err); ok {
				wrapped := *e
				wrapped.Message, wrapped.Err = fmt.Sprintf("service %q, artifact %q: %s", d.Name, source, e.Error()), nil
				return core.Set{}, &wrapped
			}
			return core.Set{}, core.Errorf(core.CodeUnavailable, "service %q, artifact %q cannot be pinned: %w", d.Name, source, err)
		}
		if pinned.Digest == "" {
			return core.Set{}, core.Errorf(core.CodeInternal, "service %q: driver %s pinned artifact %q without a digest", d.Name, d.Spec.Compute.Driver, source)
		}
		d.Spec.Artifact = pinned
	}
	return set, nil
}

// unchanged refuses a service of which something else is wanted than at seq. What control has written
// meanwhile does not count.
func (o *Operations) unchanged(ctx context.Context, tx *state.Tx, name string, seq uint64) error {
	now := state.Services.Seq(tx, name)
	if now == seq {
		return nil
	}
	if now != 0 && seq != 0 {
		then, err := state.Services.At(ctx, o.state, name, seq)
		if err != nil && !core.IsNotFound(err) {
			return fmt.Errorf("service %q as it was planned against: %w", name, err)
		}
		is, _ := state.Services.Get(tx, name)
		if err == nil && then.Count == is.Count && then.Revision == is.Revision && then.Revisions == is.Revisions &&
			then.Active == is.Active && then.Deleting == is.Deleting {
			return nil
		}
	}
	return core.Errorf(core.CodeConflict, "service %q has changed since it was planned against", name).
		WithObject(core.KindService, name).WithHint("plan again, look at the changes, and apply those")
}

// applyService writes what a plan says of one service, and returns the rollouts that it begins.
func (w *writer) applyService(tx *state.Tx, d *core.Declared, sp *core.ServicePlan, configs []core.Config, reason string) ([]string, error) {
	if sp.Action == core.ActionNone {
		return nil, nil
	}
	view, exists := viewOf(tx, d.Name, tx.Seq())
	if !exists {
		view.Service = core.Service{Format: core.Format, Name: d.Name}
	}
	view.Specs[sp.To] = &d.Spec
	if sp.Action == core.ActionCreate || sp.Action == core.ActionUpdate {
		putConfigs(tx, &d.Spec, configs)
		state.Revisions.Put(tx, core.RevisionID(d.Name, sp.To), core.Revision{
			Format: core.Format, Service: d.Name, Number: sp.To, Digest: sp.Digest, Spec: d.Spec, Created: w.now,
		})
	}
	var change rollout.Change
	var err error
	if sp.Action == core.ActionScale {
		change, err = rollout.Scale(view, d.Count)
	} else {
		change, err = rollout.Begin(view, rollout.Start{To: sp.To, Count: d.Count, Kind: core.RolloutDeploy, Reason: reason}, w.now)
	}
	if err != nil {
		return nil, err
	}
	change.Service.Revisions = max(change.Service.Revisions, sp.To)
	w.advance(tx, view, change)
	if change.Begun == nil {
		return nil, nil
	}
	return []string{change.Begun.ID()}, nil
}

// putConfigs stores the configs that a spec mounts, unless they are there.
func putConfigs(tx *state.Tx, s *core.Spec, configs []core.Config) {
	for _, m := range s.Mounts {
		for i := range configs {
			c := &configs[i]
			id := core.ConfigID(c.Name, c.Digest)
			if c.Name == m.Config && c.Digest == m.Digest && state.Configs.Seq(tx, id) == 0 {
				put := *c
				put.Format = core.Format
				state.Configs.Put(tx, id, put)
			}
		}
	}
}
