package daemon

import (
	"context"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/control"
	"github.com/instarhq/instar/core/driverhost"
	"github.com/instarhq/instar/core/identity"
	"github.com/instarhq/instar/core/state"
	"github.com/instarhq/instar/sdk"
)

// startControl makes the operator's verbs, and runs the controller whenever this node leads.
func (d *Daemon) startControl(context.Context) error {
	if err := d.startArtifacts(); err != nil {
		return err
	}
	d.operations = control.NewOperations(control.OperationsConfig{State: d.state, Resolver: &resolver{d.host, d.artifacts}, History: d.store, Now: d.clock.Now})
	d.startBeats()
	d.background("control", func(ctx context.Context) error {
		return d.store.Lead(ctx, func(ctx context.Context) error {
			config := control.Config{State: d.state, Liveness: d.beats.tracker, Current: d.caughtUp, Now: d.clock.Now, Logger: d.log}
			return control.New(config).Run(ctx)
		})
	})
	return nil
}

// waiting says what a service waits for.
func (d *Daemon) waiting(view *state.View, service string) string {
	return control.Waiting(view, service, d.clock.Now())
}

// drained says how far the emptying of a node has come.
func (d *Daemon) drained(view *state.View, node string) (core.DrainView, error) {
	return control.Drained(view, node, d.clock.Now())
}

// resolver pins artifacts with this node's drivers. A source that is not here is looked for on the node
// that the request has come from.
type resolver struct {
	host      *driverhost.Host
	artifacts *artifacts
}

// Resolve implements control.Resolver.
func (r *resolver) Resolve(ctx context.Context, compute core.Compute, artifact core.Artifact) (core.Artifact, error) {
	driver, err := r.host.Compute(compute.Driver, compute.Target)
	if err != nil {
		return core.Artifact{}, err
	}
	pinned, err := driver.Resolve(ctx, driverhost.Artifact(artifact))
	if from := identity.CallerOf(ctx).Via; sdk.CodeOf(err) == sdk.CodeNotFound && from != "" {
		if there, askErr := r.artifacts.resolveAt(ctx, from, compute, artifact); askErr == nil {
			return there, nil
		}
	}
	if err != nil {
		return core.Artifact{}, driverhost.Error(err)
	}
	return driverhost.CoreArtifact(pinned), nil
}
