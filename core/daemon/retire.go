package daemon

import (
	"context"
	"sync"
	"time"
)

const (
	// handOverLimit bounds how long a node that ends tries to give its leadership to another.
	handOverLimit = 5 * time.Second
	// retireGrace is what requests under way get before what they need is stopped.
	retireGrace = time.Second
)

// retire lets others take over before anything stops: leadership first, so that nobody waits for an
// election; then the requests that are under way come to their end.
func (d *Daemon) retire() {
	d.handOver()
	ctx, cancel := context.WithTimeout(context.Background(), retireGrace)
	defer cancel()
	var group sync.WaitGroup
	for _, server := range d.servers {
		group.Go(func() { _ = server.Shutdown(ctx) }) // stopAPI ends what is left
	}
	group.Wait()
}

// handOver makes another voter the leader, if this node is.
func (d *Daemon) handOver() {
	if !d.store.IsLeader() {
		return
	}
	servers, err := d.store.Servers()
	voters := 0
	for _, s := range servers {
		if s.Voter {
			voters++
		}
	}
	if err != nil || voters < 2 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), handOverLimit)
	defer cancel()
	if err := d.store.TransferLeadership(ctx, ""); err != nil {
		d.log.Warn("leadership was not handed over; the others elect a leader", "error", err)
	}
}
