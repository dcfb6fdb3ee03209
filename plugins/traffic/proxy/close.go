package proxy

import (
	"context"
	"time"
)

// Close implements serve.Closer: the process is to end. Listeners are closed, or are another process's
// already; requests in flight go on as long as ctx and the routes' drain deadlines allow. The state stays on
// disk.
func (d *Driver) Close(ctx context.Context) error {
	d.mu.Lock()
	first, inCharge := !d.closed, !d.superseded && d.dir != ""
	d.closed = true
	if first && inCharge {
		// From here on another process can take charge, from what is on disk.
		d.server.Retire()
		_ = d.door.Close()
		_ = d.lock.Release()
	}
	d.changed()
	ctx, cancel := context.WithTimeout(ctx, d.longestDrain())
	defer cancel()
	d.mu.Unlock()
	if inCharge {
		stop := make(chan struct{})
		defer close(stop)
		go d.closeIdle(stop)
	}
	if d.server.Drained(ctx) != nil {
		d.server.CloseAll()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.before != nil {
		_ = d.before.link.Close() // it ends alone, as it would if this process were killed
	}
	return nil
}

// closeIdle closes, until stop, connections without a request. Clients have no other way to learn that
// this process ends.
func (d *Driver) closeIdle(stop <-chan struct{}) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		d.server.CloseIdle()
		select {
		case <-stop:
			return
		case <-tick.C:
		}
	}
}
