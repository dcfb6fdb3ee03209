package daemon

import (
	"context"
	"sync/atomic"

	"github.com/instarhq/instar/core/agent"
	"github.com/instarhq/instar/core/heartbeat"
	"github.com/instarhq/instar/core/mesh"
	"github.com/instarhq/instar/core/state"
)

// beats are what this node hears of others while it leads, and what it tells whoever leads.
type beats struct {
	agent   atomic.Pointer[agent.Agent] // of this node, nil before it runs
	tracker *heartbeat.Tracker
	server  *heartbeat.Server
	client  *heartbeat.Client
}

// startBeats makes both, and sends beats from now on.
func (d *Daemon) startBeats() {
	b := &beats{tracker: heartbeat.NewTracker()}
	b.server = &heartbeat.Server{
		Node: d.cfg.Node, Tracker: b.tracker,
		Seq:    func() uint64 { return d.state.View().Seq() },
		Leases: d.leasesOf,
		Peer: func(ctx context.Context) string {
			peer, _ := mesh.PeerOf(ctx)
			return peer.Node
		},
	}
	send := heartbeat.Local(b.server, nil)
	if d.mesh != nil {
		d.mesh.Handle(heartbeat.Path, b.server)
		send = heartbeat.Local(b.server, heartbeat.HTTP(d.mesh.Client(), mesh.URL))
	}
	b.client = heartbeat.NewClient(heartbeat.ClientConfig{
		Leader: d.store.Leader, Send: send, Logger: d.log.Named("heartbeat"),
		Beat: func() heartbeat.Beat {
			a := b.agent.Load()
			return heartbeat.Beat{Node: d.cfg.Node, Seq: d.state.View().Seq(), Settled: a != nil && a.Settled()}
		},
	})
	d.beats = b
	d.background("heartbeat", b.client.Run)
}

// leasesOf are the leases that a node holds, as this node's view has them.
func (d *Daemon) leasesOf(node string) map[string]uint64 {
	held := map[string]uint64{}
	for id, lease := range state.Leases.By(d.state.View(), state.ByNode, node) {
		held[id] = lease.Epoch
	}
	return held
}

// caughtUp returns when the view has what the store has.
func (d *Daemon) caughtUp(ctx context.Context) error { return d.state.Wait(ctx, d.store.Seq()) }
