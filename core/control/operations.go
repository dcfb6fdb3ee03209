package control

import (
	"context"
	"fmt"
	"time"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/rollout"
	"github.com/instarhq/instar/core/spec"
	"github.com/instarhq/instar/core/state"
)

// Resolver pins artifacts: it returns one with its digest, as the service's compute driver finds it.
type Resolver interface {
	Resolve(ctx context.Context, compute core.Compute, artifact core.Artifact) (core.Artifact, error)
}

// OperationsConfig is what Operations need. State and Resolver are required.
type OperationsConfig struct {
	State    *state.State
	Schemas  spec.Schemas // of the published drivers; nil: those in State
	Resolver Resolver
	History  History          // for checkpoints; nil: they are CodeUnsupported
	Now      func() time.Time // nil: time.Now
}

// Operations are the operator's verbs. They run on the leader, and are safe for concurrent use.
//
// Every verb is one transaction, all of it or nothing, and the planner's next step is part of it. A
// meta with a request id makes it happen once, however often it is repeated.
type Operations struct {
	state    *state.State
	schemas  spec.Schemas
	resolver Resolver
	history  History
	now      func() time.Time
}

// NewOperations makes the verbs.
func NewOperations(config OperationsConfig) *Operations {
	o := &Operations{state: config.State, schemas: config.Schemas, resolver: config.Resolver, history: config.History, now: config.Now}
	if o.schemas == nil {
		o.schemas = published{o.state}
	}
	if o.now == nil {
		o.now = time.Now
	}
	return o
}

// verb runs decide on the view of one service, and writes what it changes together with the planner's
// next step.
func (o *Operations) verb(ctx context.Context, meta core.Meta, service string, decide func(*state.Tx, *rollout.View) (rollout.Change, error)) (core.Applied, error) {
	var applied core.Applied
	var err error
	applied.Receipt, err = o.state.Update(ctx, meta, func(tx *state.Tx) error {
		applied.Rollouts = nil
		if err := notWhileLooking(tx); err != nil {
			return err
		}
		view, ok := viewOf(tx, service, tx.Seq())
		if !ok {
			return noService(service)
		}
		change, err := decide(tx, &view)
		if err != nil {
			return err
		}
		w := writer{budget: maxBytes}
		w.reset(o.now())
		applied.Rollouts = w.advance(tx, view, change)
		return nil
	})
	if err != nil {
		return core.Applied{}, err
	}
	return o.replayed(ctx, applied)
}

// advance writes a change and what the planner makes of it, but for new instances: those are the
// Controller's. It returns the ids of the rollouts that the change begins or ends.
func (w *writer) advance(tx *state.Tx, view rollout.View, change rollout.Change) []string {
	w.change(tx, &view, &change)
	view = view.With(change)
	d := rollout.Plan(view, w.now)
	w.write(tx, &view, &d)
	switch {
	case change.Begun != nil:
		return []string{change.Begun.ID()}
	case change.Ended != nil:
		return []string{change.Ended.ID()}
	}
	return nil
}

// replayed fills in what a repeated request did when it came first.
func (o *Operations) replayed(ctx context.Context, applied core.Applied) (core.Applied, error) {
	if !applied.Receipt.Replayed {
		return applied, nil
	}
	applied.Plan, applied.Rollouts = nil, nil
	record, err := o.state.Record(ctx, applied.Receipt.Seq)
	if err != nil {
		return core.Applied{}, fmt.Errorf("read what the request did the first time: %w", err)
	}
	for i := range record.Txn.Ops {
		op := &record.Txn.Ops[i]
		if r, ok := state.Rollouts.Decode(op); ok && op.IfSeq == 0 {
			applied.Rollouts = append(applied.Rollouts, r.ID())
		}
	}
	return applied, nil
}

func noService(name string) error {
	return core.Errorf(core.CodeNotFound, "there is no service %q", name).
		WithObject(core.KindService, name).WithHint("`instar service list` shows those there are")
}

// published finds driver descriptions in the store: of the newest version, if nodes differ.
type published struct{ state *state.State }

// Driver implements spec.Schemas.
func (p published) Driver(kind core.DriverKind, name string) (found core.Driver, ok bool) {
	for _, d := range state.Drivers.All(p.state.View()) {
		if d.Kind == kind && d.Name == name && (!ok || newer(d.Version, found.Version)) {
			found, ok = d, true
		}
	}
	return found, ok
}

// Drivers implements spec.Lister.
func (p published) Drivers(kind core.DriverKind) []string {
	seen := map[string]struct{}{}
	for _, d := range state.Drivers.All(p.state.View()) {
		if d.Kind == kind {
			seen[d.Name] = struct{}{}
		}
	}
	return sortedNames(seen)
}
