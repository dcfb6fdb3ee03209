package haproxy

import (
	"context"
	"net"
	"sync"

	"github.com/instarhq/instar/plugins/traffic/haproxy/layout"
)

// dialsAtATime bounds how many instances are dialled at the same time.
const dialsAtATime = 64

// refresh makes rows what is true now for revisions that are about to get their first requests. An instance that has
// waited warm was checked up to an interval ago, and may have died since: it is dialled, and if it takes no connection,
// HAProxy is told so. If that was wrong, its next check finds the instance up again.
func (p plane) refresh(ctx context.Context, before, after *layout.Route, rows table) error {
	var waited []place
	for _, pool := range after.Spec.Pools {
		if pool.Weight == 0 || weightOf(before, pool.Revision) > 0 {
			continue
		}
		after.EachSlot(func(backend, server string, b *layout.Backend, s *layout.Slot) {
			if b.Revision == pool.Revision && s.Serving() && rows[[2]string{backend, server}].Up() {
				waited = append(waited, place{backend, server, s})
			}
		})
	}
	dead := p.dial(ctx, waited)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	for _, at := range dead {
		key := [2]string{at.backend, at.server}
		row := rows[key]
		row.Status, row.Check = "DOWN", "no connection"
		rows[key] = row
	}
	return p.each(ctx, "set server %s/%s health down", dead)
}

// dial connects to instances, as HAProxy would, and returns those that took no connection.
func (p plane) dial(ctx context.Context, places []place) (dead []place) {
	ctx, cancel := context.WithTimeout(ctx, p.target.settings.ConnectTimeout)
	defer cancel()
	var group sync.WaitGroup
	var mu sync.Mutex
	turns := make(chan struct{}, dialsAtATime)
	for _, at := range places {
		turns <- struct{}{}
		group.Go(func() {
			defer func() { <-turns }()
			conn, err := new(net.Dialer).DialContext(ctx, "tcp", at.slot.Address)
			if err == nil {
				_ = conn.Close() // that it could be made was all
				return
			}
			mu.Lock()
			defer mu.Unlock()
			dead = append(dead, at)
		})
	}
	group.Wait()
	return dead
}
