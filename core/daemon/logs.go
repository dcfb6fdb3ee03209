package daemon

import (
	"context"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/driverhost"
	"github.com/instarhq/instar/core/mesh"
	"github.com/instarhq/instar/core/state"
	"github.com/instarhq/instar/sdk"
)

// logs reads the output of instances: this node's from their drivers, others' from their nodes.
type logs struct {
	node  string
	state *state.State
	host  *driverhost.Host
	mesh  *mesh.Mesh // nil: only this node's
}

// Logs implements api.LogSource.
func (l *logs) Logs(ctx context.Context, instance string, follow bool, tail int, line func(core.LogLine) error) error {
	inst, err := state.Instances.Find(l.state.View(), instance)
	if err != nil {
		return err
	}
	if inst.Node != l.node && l.mesh != nil {
		return l.remote(ctx, inst, instance, follow, tail, line)
	}
	if inst.Node != l.node {
		return core.Errorf(core.CodeUnavailable, "instance %q runs on node %q; its output can be read there only", instance, inst.Node).
			WithObject(core.KindInstance, instance).WithHint("run the same command on %s", inst.Node)
	}
	driver, err := l.host.Compute(inst.Driver, inst.Target)
	if err != nil {
		return err
	}
	err = driver.Logs(ctx, instance, sdk.LogOptions{Follow: follow, Tail: tail}, func(out sdk.LogLine) error {
		return line(core.LogLine{Time: out.Time, Stream: out.Stream, Text: out.Text})
	})
	return driverhost.Error(err)
}
