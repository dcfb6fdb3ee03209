package haproxy

import (
	"context"
	"slices"
	"sync"

	"github.com/instarhq/instar/plugins/traffic/haproxy/layout"
	"github.com/instarhq/instar/plugins/traffic/haproxy/socket"
)

// counts remembers what each server had counted in each worker when it was last looked at: a worker takes
// its counters with it when it ends.
type counts struct {
	mu   *sync.Mutex
	seen map[countKey]map[int]layout.Count
}

type countKey struct{ backend, server, id, address string }

func newCounts() counts { return counts{new(sync.Mutex), make(map[countKey]map[int]layout.Count)} }

func keyOf(at place) countKey { return countKey{at.backend, at.server, at.slot.ID, at.slot.Address} }

// note remembers one worker's row of a slot and returns what the endpoint has had in all.
func (c counts) note(at place, pid int, row socket.Server) {
	c.mu.Lock()
	defer c.mu.Unlock()
	key := keyOf(at)
	if c.seen[key] == nil {
		c.seen[key] = make(map[int]layout.Count)
	}
	ended := row.Total - min(row.Total, uint64(row.Sessions))
	last := c.seen[key][pid]
	c.seen[key][pid] = layout.Count{Requests: max(last.Requests, ended), Errors: max(last.Errors, row.Errors)}
}

// total is what an endpoint has had in all workers since it joined.
func (c counts) total(at place) layout.Count {
	c.mu.Lock()
	defer c.mu.Unlock()
	sum := at.slot.Carry
	for pid, seen := range c.seen[keyOf(at)] {
		if slices.Contains(at.slot.Folded, pid) {
			continue
		}
		base := at.slot.Base[pid]
		sum.Requests += seen.Requests - min(seen.Requests, base.Requests)
		sum.Errors += seen.Errors - min(seen.Errors, base.Errors)
	}
	return sum
}

// takeStock notes what all workers have counted so far. What cannot be read is not noted.
func (d *Driver) takeStock(ctx context.Context, t *target) {
	procs, err := t.master().Processes(ctx)
	if err != nil {
		return
	}
	state := d.store.state()
	routes := append(state.Ordered(), state.Gone...)
	all, err := t.rowsOf(ctx, procs, routes)
	if err != nil {
		return
	}
	for _, r := range routes {
		for _, at := range pick(r, func(s *layout.Slot) bool { return !s.Free() }) {
			d.endpoint(at, all)
		}
	}
}

// handOver puts the counts of workers that have ended into the state file, for the next process, and ends
// the charge of this one.
func (d *Driver) handOver(ctx context.Context) error {
	t, unlock, err := d.lock(ctx)
	if err != nil {
		return nil // never configured, or closed before
	}
	defer unlock()
	if p, err := t.plane(ctx); err == nil { // without HAProxy there is nothing to add
		next := d.store.state().Clone()
		if d.counts.carry(ctx, p, next) {
			if err := d.store.save(next); err != nil {
				return err
			}
		}
	}
	return d.store.disown()
}

// carry moves what was counted by workers that have ended into the state, and forgets endpoints that are
// no more. It says whether the state has changed.
func (c counts) carry(ctx context.Context, p plane, next layout.State) (changed bool) {
	procs, err := p.master.Processes(ctx)
	if err != nil {
		return false
	}
	live := make(map[int]bool)
	for _, w := range procs.Workers {
		live[w.PID] = true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	known := make(map[countKey]bool)
	for _, r := range append(next.Ordered(), next.Gone...) {
		for _, at := range pick(r, func(s *layout.Slot) bool { return !s.Free() }) {
			key := keyOf(at)
			known[key] = true
			changed = c.fold(key, at.slot, live) || changed
		}
	}
	for key := range c.seen {
		if !known[key] {
			delete(c.seen, key)
		}
	}
	return changed
}

// fold adds what ended workers have counted to a slot. It is dropped from memory a round later: until then
// somebody may look at it with the state from before.
func (c counts) fold(key countKey, slot *layout.Slot, live map[int]bool) (changed bool) {
	var folded []int
	for pid, seen := range c.seen[key] {
		switch {
		case live[pid]:
		case slices.Contains(slot.Folded, pid):
			delete(c.seen[key], pid)
		default:
			base := slot.Base[pid]
			slot.Carry.Requests += seen.Requests - min(seen.Requests, base.Requests)
			slot.Carry.Errors += seen.Errors - min(seen.Errors, base.Errors)
			folded = append(folded, pid)
		}
	}
	changed = len(folded) > 0 || len(slot.Folded) > 0
	slot.Folded = folded
	return changed
}
