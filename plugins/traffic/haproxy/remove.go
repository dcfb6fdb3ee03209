package haproxy

import (
	"context"
	"errors"
	"time"

	"github.com/instarhq/instar/plugins/traffic/haproxy/layout"
	"github.com/instarhq/instar/plugins/traffic/haproxy/socket"
	"github.com/instarhq/instar/sdk"
)

// Remove implements sdk.Traffic. The map refuses new requests at once; the listener goes with the next
// reload, which follows soon and may serve several removals.
func (d *Driver) Remove(ctx context.Context, id string, generation uint64, drain time.Duration) error {
	t, unlock, err := d.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	state := d.store.state()
	route, exists := state.Routes[id]
	if exists && generation < route.Spec.Generation {
		return sdk.Conflict("route %s has generation %d; generation %d is older", id, route.Spec.Generation, generation)
	}
	if exists || generation > state.Removed[id] {
		next := state.Clone()
		delete(next.Routes, id)
		next.Removed[id] = max(generation, next.Removed[id])
		if exists {
			next.Gone = append(next.Gone, layout.Retire(route, time.Now(), drain))
		}
		if err := d.store.save(next); err != nil {
			return err
		}
		defer d.nudge()
	}
	return d.takeAway(ctx, t)
}

// takeAway makes HAProxy refuse what is no longer in the state.
func (d *Driver) takeAway(ctx context.Context, t *target) error {
	state := d.store.state()
	p, err := t.plane(ctx)
	switch {
	case errors.Is(err, socket.ErrAbsent):
		return t.writeFiles(state) // what does not run sends nothing, and will begin with these
	case err != nil:
		return err
	}
	if err := p.commit(ctx, state); err != nil {
		return unavailable(err)
	}
	return t.writeConfig(t.render(state))
}
