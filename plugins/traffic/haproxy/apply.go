package haproxy

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/instarhq/instar/plugins/traffic/haproxy/layout"
	"github.com/instarhq/instar/sdk"
)

// Apply implements sdk.Traffic. In this order: make room, fill the slots of new endpoints and wait for
// HAProxy's checks of them, refuse what would leave users without an instance, save, switch by one commit
// of the map, drain what is left behind.
func (d *Driver) Apply(ctx context.Context, spec sdk.Route) error {
	if err := validate(spec); err != nil {
		return err
	}
	if _, err := decodeRoute(spec.Config); err != nil {
		return err
	}
	addresses, err := resolve(ctx, spec.Pools)
	if err != nil {
		return err
	}
	t, unlock, err := d.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	state := d.store.state()
	repeated, err := checkGeneration(state, spec)
	if err != nil {
		return err
	}
	if repeated {
		return d.noteHealth(d.converge(ctx))
	}
	if err := compatible(state.Routes, spec); err != nil {
		return err
	}
	next := state.Clone()
	old := next.Routes[spec.ID]
	name := layout.RouteName(spec.ID)
	if old == nil { // some of its requests may still be under way from before its removal
		if at := slices.IndexFunc(next.Gone, func(r *layout.Route) bool { return r.Name == name }); at >= 0 {
			old = next.Gone[at]
			next.Gone = slices.Delete(next.Gone, at, at+1)
		}
	}
	now := time.Now()
	next.Routes[spec.ID] = layout.Place(old, spec, t.sizes, now, addresses)
	delete(next.Removed, spec.ID)
	defer d.nudge()
	return d.change(ctx, t, next, spec.ID, now)
}

// checkGeneration refuses an older generation (I7) and recognises the one that is in effect.
func checkGeneration(state layout.State, spec sdk.Route) (repeated bool, err error) {
	if removed := state.Removed[spec.ID]; spec.Generation <= removed {
		return false, sdk.Conflict("route %s was removed with generation %d; generation %d is not newer", spec.ID, removed, spec.Generation)
	}
	applied, ok := state.Routes[spec.ID]
	if ok && spec.Generation < applied.Spec.Generation {
		return false, sdk.Conflict("route %s has generation %d; generation %d is older", spec.ID, applied.Spec.Generation, spec.Generation)
	}
	return ok && spec.Generation == applied.Spec.Generation, nil
}

// change brings the state next, which differs from the present one in one route, into effect. Until the
// state is saved, a failure leaves everything as it was.
func (d *Driver) change(ctx context.Context, t *target, next layout.State, id string, now time.Time) error {
	before := d.store.state()
	p, err := d.prepare(ctx, t, staged(next, id, now))
	next.Version = p.version
	if err != nil {
		d.undo(t, before)
		return err
	}
	route := next.Routes[id]
	joining := joining(route)
	if err := p.join(ctx, joining); err != nil {
		d.undo(t, before)
		return unavailable(err)
	}
	if err := p.gate(ctx, before.Routes[id], route); err != nil {
		d.undo(t, withRoom(before, next, id))
		return err
	}
	if err := p.each(ctx, "set server %s/%s state ready", joining); err != nil {
		d.undo(t, before)
		return unavailable(err)
	}
	if err := d.store.save(next); err != nil {
		d.undo(t, before)
		return err
	}
	// The state is the new one: a caller who gives up now must not leave HAProxy at the old one.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), commitPatience)
	defer cancel()
	if err := p.commit(ctx, next); err != nil {
		return unavailable(err)
	}
	if err := p.each(ctx, "set server %s/%s state drain", departing(route, now)); err != nil {
		return unavailable(err)
	}
	return t.writeConfig(t.render(next))
}

// staged is the state while a change of one route is prepared: what leaves now is still there.
func staged(next layout.State, id string, now time.Time) layout.State {
	s := next
	s.Routes = maps.Clone(next.Routes)
	route := next.Routes[id].Clone()
	route.EachSlot(func(_, _ string, _ *layout.Backend, slot *layout.Slot) {
		if slot.Leaving() && slot.Left.Equal(now) {
			slot.Left, slot.Leaves = time.Time{}, time.Time{}
		}
	})
	s.Routes[id] = route
	return s
}

// withRoom is the state before a change that was refused, with the room that was made for it: the next try
// shall not need another reload.
func withRoom(before, next layout.State, id string) layout.State {
	old, ok := before.Routes[id]
	if !ok {
		return before
	}
	kept := before.Clone()
	route := kept.Routes[id]
	for i := range next.Routes[id].Backends {
		wide := len(next.Routes[id].Backends[i].Slots)
		if i >= len(route.Backends) {
			route.Backends = append(route.Backends, layout.Backend{})
		}
		if b := &route.Backends[i]; len(b.Slots) < wide {
			b.Slots = append(b.Slots, make([]layout.Slot, wide-len(b.Slots))...)
		}
	}
	route.Spec = old.Spec
	return kept
}

// undo brings HAProxy and the files back to a state.
func (d *Driver) undo(t *target, state layout.State) {
	ctx, cancel := context.WithTimeout(d.ctx, undoPatience)
	defer cancel()
	err := d.store.save(state)
	if err == nil {
		err = t.writeFiles(state)
	}
	if err == nil {
		err = d.converge(ctx)
	}
	if err != nil {
		d.logger.Warn("a change that failed is not yet undone; this is tried again", "error", err)
	}
	d.nudge()
}

const (
	undoPatience   = 10 * time.Second
	commitPatience = 10 * time.Second
)
