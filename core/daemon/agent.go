package daemon

import (
	"context"
	"errors"
	"time"

	"github.com/instarhq/instar/core/agent"
	"github.com/instarhq/instar/core/state"
)

// publishLimit is how long the start waits until this node and its drivers are in the store, so that the
// first request finds them. Without a leader they are not, and the API must answer all the same.
const publishLimit = 2 * time.Second

func (d *Daemon) startAgent(ctx context.Context) error {
	watch := d.state.Watch()
	defer watch.Stop()
	before := state.Nodes.Seq(d.state.View(), d.cfg.Node)
	d.background("agent", d.runAgent)

	limit := time.NewTimer(publishLimit)
	defer limit.Stop()
	for state.Nodes.Seq(d.state.View(), d.cfg.Node) == before {
		select {
		case <-watch.Changed():
			watch.Take()
		case <-limit.C:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// runAgent runs an agent, and another one after each restore: what one knows is of its generation.
func (d *Daemon) runAgent(ctx context.Context) error {
	for {
		_, public, err := d.signer()
		if err != nil {
			return err
		}
		a := agent.New(agent.Config{
			Node: d.cfg.Node, Labels: d.cfg.Labels, Version: d.cfg.Version, Level: d.cfg.level(), Key: public,
			Cluster: d.store.ClusterID(), Generation: d.store.Generation(),
			State: d.state, Host: artifactHost{d.host, d.artifacts}, Leases: d.beats.client, Current: d.current, Logger: d.log.Named("agent"),
		})
		d.beats.agent.Store(a)
		err = a.Run(ctx)
		if !errors.Is(err, agent.ErrRestored) {
			return err
		}
		d.log.Info("the store has been restored; the agent begins anew, and only looks")
	}
}
