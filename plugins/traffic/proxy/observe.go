package proxy

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/instarhq/instar/sdk"
)

// Observe implements sdk.Traffic. What a process before this one still has in flight is part of it.
func (d *Driver) Observe(_ context.Context, id string) (sdk.Observation, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	o, ok := d.observeAll(id)
	if !ok {
		return o, sdk.NotFound("there is no route %s", id)
	}
	slices.SortFunc(o.Draining, func(a, b sdk.EndpointObservation) int { return cmp.Compare(a.ID, b.ID) })
	return o, nil
}

// observeAll reads one route back from this process and those before it.
func (d *Driver) observeAll(id string) (sdk.Observation, bool) {
	o, ok := d.observe(id)
	if d.before != nil {
		if earlier, found := d.before.observe(id); found {
			o = merge(o, earlier)
			ok = ok || len(o.Draining) > 0
		}
	}
	return o, ok
}

// observe reads one route of this process back; ok is false if there is nothing of it.
func (d *Driver) observe(id string) (o sdk.Observation, ok bool) {
	now := time.Now()
	o = sdk.Observation{Route: id}
	if r := d.routes[id]; r != nil {
		o, ok = r.Observe(now), true
		p := d.places[d.state.Routes[id].Listen]
		o.Listening = p != nil && p.listener != nil && !d.superseded && !d.closed
	}
	for _, r := range d.leaving[id] {
		if gone := r.Observe(now); len(gone.Draining) > 0 {
			o.Draining, ok = append(o.Draining, gone.Draining...), true
			o.Generation = max(o.Generation, gone.Generation, d.state.Removed[id])
		}
	}
	return o, ok
}

// merge adds what an earlier process has of the same route to o. An endpoint that is part of the route
// here is reported there, and one that is draining in either process only once.
func merge(o, earlier sdk.Observation) sdk.Observation {
	type key struct{ id, address string }
	at := make(map[key]*sdk.EndpointObservation)
	for i := range o.Pools {
		for j := range o.Pools[i].Endpoints {
			e := &o.Pools[i].Endpoints[j]
			at[key{e.ID, e.Address}] = e
		}
	}
	var draining []*sdk.EndpointObservation
	add := func(e sdk.EndpointObservation) {
		if have := at[key{e.ID, e.Address}]; have != nil {
			have.InFlight += e.InFlight
			have.Requests += e.Requests
			have.Errors += e.Errors
			if have.Latency.Count == 0 {
				have.Latency = e.Latency
			}
			return
		}
		if e.InFlight > 0 {
			e.State = sdk.EndpointDraining
			draining = append(draining, &e)
			at[key{e.ID, e.Address}] = &e
		}
	}
	for _, e := range slices.Concat(o.Draining, endpointsOf(earlier), earlier.Draining) {
		add(e)
	}
	o.Draining = nil
	for _, e := range draining {
		o.Draining = append(o.Draining, *e)
	}
	o.Held += earlier.Held
	o.Generation = max(o.Generation, earlier.Generation)
	return o
}

func endpointsOf(o sdk.Observation) (all []sdk.EndpointObservation) {
	for _, p := range o.Pools {
		all = append(all, p.Endpoints...)
	}
	return all
}

// Probe implements sdk.Driver.
func (d *Driver) Probe(ctx context.Context, report func(sdk.Health) error) error {
	var last sdk.Health
	for first := true; ; first = false {
		h, watch := d.health()
		if first || h.Healthy != last.Healthy || h.Reason != last.Reason || !maps.Equal(h.Attributes, last.Attributes) {
			if err := report(h); err != nil {
				return err
			}
			last = h
		}
		select {
		case <-watch:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (d *Driver) health() (sdk.Health, <-chan struct{}) {
	d.mu.Lock()
	defer d.mu.Unlock()
	h := sdk.Health{Healthy: true, Attributes: map[string]string{
		"version": Version, "listeners": strconv.Itoa(len(d.places)), "routes": strconv.Itoa(len(d.routes)),
	}}
	if err := d.usable(); err != nil {
		h.Healthy, h.Reason = false, err.Error()
		return h, d.healthWatch
	}
	var reasons []string
	for address, p := range d.places {
		if p.listener == nil {
			reasons = append(reasons, fmt.Sprintf("listener %s: %v", address, p.err))
		}
	}
	slices.Sort(reasons)
	if h.Reason = strings.Join(reasons, "; "); h.Reason != "" {
		h.Healthy = false
	}
	return h, d.healthWatch
}

// changed wakes the probes.
func (d *Driver) changed() {
	close(d.healthWatch)
	d.healthWatch = make(chan struct{})
}
