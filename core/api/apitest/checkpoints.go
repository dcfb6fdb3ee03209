package apitest

import (
	"context"

	"github.com/instarhq/instar/core"
)

// CreateCheckpoint implements api.Checkpoints.
func (o *Operations) CreateCheckpoint(_ context.Context, m core.Meta, name string, _ core.Point) (core.Receipt, error) {
	applied, err := o.call("checkpoint.create "+name, m)
	return applied.Receipt, err
}

// DeleteCheckpoint implements api.Checkpoints.
func (o *Operations) DeleteCheckpoint(_ context.Context, m core.Meta, name string) (core.Receipt, error) {
	applied, err := o.call("checkpoint.delete "+name, m)
	return applied.Receipt, err
}

// PlanReturn implements api.Checkpoints.
func (o *Operations) PlanReturn(ctx context.Context, to core.Point) (core.Return, error) {
	plan, err := o.Plan(ctx, core.Set{})
	return core.Return{Applied: core.Applied{Plan: &plan}, Seq: to.Seq}, err
}

// Return implements api.Checkpoints.
func (o *Operations) Return(_ context.Context, m core.Meta, to core.Point, _ bool) (core.Return, error) {
	applied, err := o.call("return "+to.Checkpoint, m)
	return core.Return{Applied: applied, Seq: to.Seq}, err
}
