package daemon

import (
	"context"
	"errors"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/cluster"
	"github.com/instarhq/instar/core/state"
	"github.com/instarhq/instar/raftstore"
)

func (d *Daemon) openDir(context.Context) (err error) {
	d.dir, err = openDataDir(d.cfg.DataDir, true)
	return err
}

func (d *Daemon) openStore(ctx context.Context) (err error) {
	config := raftstore.Config{
		Dir: d.dir.file("store"), Node: d.cfg.Node, Cluster: d.cfg.Cluster, Logger: d.log.Named("store"), Observer: d.telemetry,
	}
	if d.member != nil {
		config.Heartbeat = d.cfg.Membership.Heartbeat
		d.member.store(&config)
		config.Forward = measuredForwarder{config.Forward, d.telemetry}
	}
	if d.store, err = raftstore.Open(ctx, config); err != nil {
		return err
	}
	if err := d.restoreStaged(ctx); err != nil {
		return errors.Join(err, d.store.Close())
	}
	if d.member != nil {
		d.serveMesh()
	}
	d.background("store", func(ctx context.Context) error {
		select {
		case err := <-d.store.Failed():
			return err
		case <-ctx.Done():
			return nil
		}
	})
	return nil
}

// ErrRestored ends a daemon whose store was replaced under it: whatever follows the log begins anew with the
// next start, which touches neither drivers nor instances.
var ErrRestored = errors.New("the store's content was replaced as a whole")

func (d *Daemon) startState(ctx context.Context) error {
	d.state = state.New(measuredStore{d.store, d.telemetry})
	ended := make(chan error, 1)
	d.background("state", func(ctx context.Context) error {
		err := d.state.Run(ctx)
		if ctx.Err() == nil && core.CodeOf(err) == core.CodeUnavailable {
			err = ErrRestored // of a snapshot, or of what the leader has sent because this node was too far behind
		}
		ended <- err
		return err
	})
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ready := make(chan error, 1)
	go func() { ready <- d.state.Ready(ctx) }()
	select {
	case err := <-ready:
		if err != nil {
			return err
		}
	case err := <-ended:
		return err
	}
	return cluster.CheckLevel(d.state.View(), d.cfg.level(), d.cfg.Version)
}

// current returns when all that had been committed when it was called is in the view.
func (d *Daemon) current(ctx context.Context) error {
	seq, err := d.store.ReadIndex(ctx)
	if err != nil {
		return err
	}
	return d.state.Wait(ctx, seq)
}
