package haproxy

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/instarhq/instar/plugins/traffic/haproxy/layout"
	"github.com/instarhq/instar/plugins/traffic/haproxy/socket"
	"github.com/instarhq/instar/sdk"
)

// Observe implements sdk.Traffic. Everything in it but the names is read from HAProxy.
//
// A change is saved a moment before HAProxy has it: what is read belongs to the state before, then. If it belongs to neither,
// there are changes all the time, and it is tried again; or somebody's hand has been in the map, and it is told as it is.
func (d *Driver) Observe(ctx context.Context, id string) (sdk.Observation, error) {
	t, err := d.configured()
	if err != nil {
		return sdk.Observation{Route: id}, err
	}
	for round := 1; ; round++ {
		state, before := d.store.state(), d.store.before()
		now, err := d.observeSteadily(ctx, t, id, state)
		if err != nil || fits(state, now) {
			return now, err
		}
		if before.Routes[id] != nil {
			if o, err := d.observe(ctx, t, id, before); err == nil && fits(before, o) {
				return o, nil
			}
		}
		if round == observeRounds {
			return now, nil
		}
		select {
		case <-time.After(settlePause):
		case <-ctx.Done():
			return now, ctx.Err()
		}
	}
}

// observeRounds is how often Observe tries to find HAProxy in a state that is known.
const observeRounds = 10

// fits says that an observation is one of a state.
func fits(state layout.State, o sdk.Observation) bool {
	route := state.Routes[o.Route]
	return route == nil || route.Spec.Generation == o.Generation
}

// observeSteadily is observe, also while HAProxy is reloaded.
func (d *Driver) observeSteadily(ctx context.Context, t *target, id string, state layout.State) (o sdk.Observation, err error) {
	err = steadily(ctx, func() error {
		o, err = d.observe(ctx, t, id, state)
		return err
	})
	return o, err
}

// observe reads HAProxy with the names and places of a state.
func (d *Driver) observe(ctx context.Context, t *target, id string, state layout.State) (sdk.Observation, error) {
	o := sdk.Observation{Route: id}
	var routes []*layout.Route
	for _, r := range state.Gone {
		if r.Spec.ID == id {
			routes = append(routes, r)
		}
	}
	route := state.Routes[id]
	if route == nil && len(routes) == 0 {
		return o, sdk.NotFound("there is no route %s", id)
	}
	procs, err := t.master().Processes(ctx)
	if err != nil {
		return o, unavailable(err)
	}
	current, ok := t.master().Present(ctx, procs)
	if !ok {
		return o, sdk.Unavailable(time.Second, "HAProxy's master at %s has no worker", t.MasterSocket)
	}
	if route != nil {
		routes = append(routes, route)
	}
	rows, err := t.settled(ctx, procs, routes)
	if err != nil {
		return o, unavailable(err)
	}
	if route != nil {
		if err := d.observeRoute(ctx, plane{t, t.master(), current.PID, current.Version}, route, rows, &o); err != nil {
			return o, unavailable(err)
		}
	}
	for _, r := range routes {
		d.observeLeaving(r, rows, &o)
	}
	if route == nil && len(o.Draining) == 0 {
		return o, sdk.NotFound("there is no route %s", id)
	}
	o.Generation = max(o.Generation, state.Removed[id])
	slices.SortFunc(o.Draining, func(a, b sdk.EndpointObservation) int { return cmp.Compare(a.ID, b.ID) })
	return o, nil
}

// settled reads the servers of routes until none is busy, but only a few times: HAProxy counts a request
// as ended a moment after its client has the whole answer, and who has it shall not find it in flight.
func (t *target) settled(ctx context.Context, procs socket.Processes, routes []*layout.Route) (map[int]table, error) {
	for round := 1; ; round++ {
		all, err := t.rowsOf(ctx, procs, routes)
		if err != nil || round == settleRounds || !busy(all) {
			return all, err
		}
		select {
		case <-time.After(settlePause):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

const (
	settleRounds = 5
	settlePause  = 3 * time.Millisecond
)

func busy(all map[int]table) bool {
	for _, rows := range all {
		for _, row := range rows {
			if row.Sessions > 0 {
				return true
			}
		}
	}
	return false
}

// rowsOf reads the servers of routes from all workers, by process id.
func (t *target) rowsOf(ctx context.Context, procs socket.Processes, routes []*layout.Route) (map[int]table, error) {
	all := make(map[int]table)
	for _, w := range procs.Workers {
		rows, err := t.rowsOfWorker(ctx, w, routes)
		if err != nil {
			if w.Old && ctx.Err() == nil {
				continue // it has ended since it was listed
			}
			return nil, err
		}
		all[w.PID] = rows
	}
	return all, nil
}

// rowsOfWorker reads the servers of routes from one worker. One that was replaced shows nothing of its servers in
// HAProxy 2.4, so its sessions are counted there.
func (t *target) rowsOfWorker(ctx context.Context, w socket.Worker, routes []*layout.Route) (table, error) {
	rows, err := plane{t, t.master(), w.PID, w.Version}.servers(ctx, routes...)
	if err != nil || len(rows) > 0 || !w.Old || layout.ShowsStopped(w.Version) {
		return rows, err
	}
	answers, err := t.master().Ask(ctx, w.PID, "show sess")
	if err != nil {
		return nil, err
	}
	sessions := make(map[[2]string]int)
	for _, server := range socket.Sessions(answers[0]) {
		sessions[server]++
	}
	for _, r := range routes {
		for _, at := range pick(r, func(s *layout.Slot) bool { return !s.Free() }) {
			// A slot is freed only when nothing is in flight, so what there is belongs to its present endpoint.
			if key := [2]string{at.backend, at.server}; sessions[key] > 0 {
				rows[key] = socket.Server{Backend: at.backend, Name: at.server, Address: at.slot.Address, Sessions: sessions[key]}
			}
		}
	}
	return rows, nil
}

func (d *Driver) observeRoute(ctx context.Context, p plane, route *layout.Route, all map[int]table, o *sdk.Observation) error {
	answers, err := p.ask(ctx, "show map "+p.target.mapFile(), "show stat "+layout.Listener(route.Spec.Listen)+" 1 -1")
	if err != nil {
		return err
	}
	entries := layout.Of(route, socket.Entries(answers[0]))
	fronts, err := socket.Servers(answers[1])
	if err == nil {
		o.Listening = slices.ContainsFunc(fronts, func(s socket.Server) bool { return s.Status == "OPEN" })
	}
	weights := layout.Weights(route, entries)
	for _, e := range entries {
		if e.Key == route.Name+"/generation" {
			o.Generation, _ = strconv.ParseUint(e.Value, 10, 64) // by hand, anything can be there
		}
	}
	for _, pool := range route.Spec.Pools {
		at := route.Pool(pool.Revision)
		backend := route.BackendName(at)
		po := sdk.PoolObservation{Revision: pool.Revision, Weight: weights[pool.Revision], Preview: layout.Previews(route, pool.Revision, entries)}
		var rates map[int]uint64
		if route.Spec.Protocol == sdk.ProtocolHTTP && len(pool.Endpoints) > 0 {
			answers, err := p.ask(ctx, "show table "+backend+" data.gpc0_rate gt 0")
			if err != nil {
				return err
			}
			rates = socket.Rates(answers[0])
		}
		for j := range route.Backends[at].Slots {
			slot := &route.Backends[at].Slots[j]
			row, ok := all[p.pid][[2]string{backend, layout.SlotName(j)}]
			if !ok || !slot.Serving() {
				continue
			}
			e := d.endpoint(place{backend, layout.SlotName(j), slot}, all)
			e.Latency = layout.Latency(rates, j)
			if row.Address != slot.Address {
				e.Address = row.Address // not what was applied: somebody has changed it
			}
			if e.State = sdk.EndpointDown; row.Up() && !row.Draining() {
				e.State = sdk.EndpointUp
			}
			po.Endpoints = append(po.Endpoints, e)
		}
		o.Pools = append(o.Pools, po)
	}
	return nil
}

// observeLeaving adds endpoints that have left and are still busy.
func (d *Driver) observeLeaving(r *layout.Route, all map[int]table, o *sdk.Observation) {
	for _, at := range pick(r, (*layout.Slot).Leaving) {
		if e := d.endpoint(at, all); e.InFlight > 0 {
			e.State = sdk.EndpointDraining
			o.Draining = append(o.Draining, e)
		}
	}
}

// endpoint sums up what all workers have of an endpoint.
func (d *Driver) endpoint(at place, all map[int]table) sdk.EndpointObservation {
	e := sdk.EndpointObservation{ID: at.slot.ID, Address: at.slot.Wanted}
	for pid, rows := range all {
		if row, ok := rows[[2]string{at.backend, at.server}]; ok && row.Address == at.slot.Address {
			d.counts.note(at, pid, row)
			e.InFlight += row.Sessions
		}
	}
	total := d.counts.total(at)
	e.Requests, e.Errors = total.Requests, total.Errors
	return e
}
