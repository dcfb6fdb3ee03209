package proxy

import (
	"context"
	"maps"
	"time"

	"github.com/instarhq/instar/plugins/traffic/proxy/front"
	"github.com/instarhq/instar/plugins/traffic/proxy/route"
	"github.com/instarhq/instar/plugins/traffic/proxy/state"
	"github.com/instarhq/instar/sdk"
)

// Apply implements sdk.Traffic: check, prepare what can fail, save, switch what cannot fail, follow up.
func (d *Driver) Apply(_ context.Context, spec sdk.Route) error {
	if _, err := validate(spec); err != nil {
		return err
	}
	options, err := decodeRoute(spec.Config)
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.usable(); err != nil {
		return err
	}
	repeated, err := d.checkGeneration(spec)
	if err != nil {
		return err
	}
	if repeated {
		return d.follow(order{Apply: ptr(d.state.Routes[spec.ID])})
	}
	if err := d.change(spec, options); err != nil {
		return err
	}
	return d.follow(order{Apply: &spec})
}

func ptr[T any](v T) *T { return &v }

// checkGeneration refuses an older generation (I7) and recognises the one that is in effect.
func (d *Driver) checkGeneration(spec sdk.Route) (repeated bool, err error) {
	if removed := d.state.Removed[spec.ID]; spec.Generation <= removed {
		return false, sdk.Conflict("route %s was removed with generation %d; generation %d is not newer", spec.ID, removed, spec.Generation)
	}
	applied, ok := d.state.Routes[spec.ID]
	if ok && spec.Generation < applied.Generation {
		return false, sdk.Conflict("route %s has generation %d; generation %d is older", spec.ID, applied.Generation, spec.Generation)
	}
	return ok && spec.Generation == applied.Generation, nil
}

// change brings one route into effect, or fails and leaves everything as it was.
func (d *Driver) change(spec sdk.Route, options *route.Options) error {
	old, existed := d.state.Routes[spec.ID]
	next := d.state
	next.Routes = maps.Clone(d.state.Routes)
	next.Routes[spec.ID] = spec
	next.Removed = maps.Clone(d.state.Removed)
	delete(next.Removed, spec.ID)

	objects := maps.Clone(d.routes)
	if objects[spec.ID] == nil {
		objects[spec.ID] = route.New(spec.ID)
	}
	rules, err := d.rules(spec.Listen, next.Routes, objects)
	if err != nil {
		return err
	}
	socket, err := d.socketFor(spec.Listen)
	if err != nil {
		return err
	}
	if err := d.save(next); err != nil {
		if socket != nil {
			_ = socket.Close() // nobody has used it
		}
		return err
	}
	d.routes = objects
	objects[spec.ID].Apply(spec, options)
	if socket != nil {
		d.open(spec.Listen, socket, rules)
	} else {
		d.places[spec.Listen].listener.Set(rules)
	}
	if existed && old.Listen != spec.Listen {
		d.refresh(old.Listen)
	}
	d.sweep()
	d.changed()
	return nil
}

// refresh gives the listener at an address the rules of the routes that are left there, or closes it.
func (d *Driver) refresh(address string) {
	p := d.places[address]
	rules, err := d.rules(address, d.state.Routes, d.routes)
	if err != nil {
		// Taking a route away adds no conflict; only a file that went missing can be the reason.
		d.logger.Error("the listener keeps its rules", "listener", address, "error", err)
		return
	}
	used := false
	for _, r := range d.state.Routes {
		used = used || r.Listen == address
	}
	switch {
	case p == nil:
	case !used:
		delete(d.places, address)
		if p.listener != nil {
			p.listener.Set(front.Rules{TCP: true, Table: route.NewTable(nil), Certs: front.NewCertificates(nil, d.logger)})
			p.listener.Close()
		}
	case p.listener != nil:
		p.listener.Set(rules)
	}
}

// Remove implements sdk.Traffic.
func (d *Driver) Remove(_ context.Context, id string, generation uint64, drain time.Duration) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.usable(); err != nil {
		return err
	}
	spec, exists := d.state.Routes[id]
	if exists && generation < spec.Generation {
		return sdk.Conflict("route %s has generation %d; generation %d is older", id, spec.Generation, generation)
	}
	if exists || d.state.Removed[id] < generation {
		if err := d.save(d.without(id, generation)); err != nil {
			return err
		}
	}
	d.takeAway(id, spec, drain)
	return d.follow(order{Remove: &removal{id, generation, drain}})
}

func (d *Driver) without(id string, generation uint64) state.State {
	next := d.state
	next.Routes = maps.Clone(d.state.Routes)
	delete(next.Routes, id)
	next.Removed = maps.Clone(d.state.Removed)
	next.Removed[id] = max(generation, next.Removed[id])
	return next
}

// takeAway ends a route that is no longer in the state.
func (d *Driver) takeAway(id string, spec sdk.Route, drain time.Duration) {
	if r := d.routes[id]; r != nil {
		delete(d.routes, id)
		d.leaving[id] = append(d.leaving[id], r)
		d.refresh(spec.Listen)
		r.Remove(drain)
		d.sweep()
		d.changed()
	}
}

// Hold implements sdk.Traffic.
func (d *Driver) Hold(_ context.Context, id string, limits sdk.HoldLimits) error {
	if limits.Requests < 0 || limits.Timeout < 0 {
		return sdk.InvalidConfig("limits", "they must not be negative")
	}
	r, err := d.route(id)
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	r.Hold(limits)
	return d.follow(order{Hold: &holding{id, limits}})
}

// Release implements sdk.Traffic. A route that is not held is no error.
func (d *Driver) Release(_ context.Context, id string) error {
	r, err := d.route(id)
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	r.Release()
	return d.follow(order{Release: id})
}

func (d *Driver) route(id string) (*route.Route, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.usable(); err != nil {
		return nil, err
	}
	if r := d.routes[id]; r != nil {
		return r, nil
	}
	return nil, sdk.NotFound("there is no route %s", id)
}
