package sdktest_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/instarhq/instar/sdk"
)

// plane is a small but real data plane: HTTP and TCP listeners in front of real backends. Drivers come and go, it
// stays; it can be stopped, and comes back with what it had. fault is what is wrong with it, for the drivers that
// must fail.
type plane struct {
	fault string

	mu     sync.Mutex
	routes map[string]*planeRoute
	lines  map[string]*line // by address
	down   bool
	delay  time.Duration

	spoiled map[string]string // addresses that cannot be used, and why; only faults look at it
}

// planeRoute is a route that the plane has, or one that was removed and still has requests in flight.
type planeRoute struct {
	spec    sdk.Route
	before  sdk.Route // what it was before the last change
	removed bool
	members map[string]*member // by endpoint, also those that have left
	turn    int
	held    chan struct{} // closed by release; nil: not held
	limit   int
	waiting int
}

// member is an endpoint of a route.
type member struct {
	sdk.EndpointObservation
	inRoute bool
	ctx     context.Context
	cut     context.CancelFunc
	times   []time.Duration
}

func newMember(e sdk.Endpoint) *member {
	m := &member{EndpointObservation: sdk.EndpointObservation{ID: e.ID, Address: e.Address, State: sdk.EndpointUp}}
	m.ctx, m.cut = context.WithCancel(context.Background())
	return m
}

func newPlane(fault string) *plane {
	return &plane{fault: fault, routes: map[string]*planeRoute{}, lines: map[string]*line{}, spoiled: map[string]string{}}
}

func (p *plane) is(fault string) bool { return p.fault == fault }

// call is the way to the plane, which may be long, or lead nowhere.
func (p *plane) call(ctx context.Context) error {
	p.mu.Lock()
	delay := p.delay
	p.mu.Unlock()
	if err := pause(ctx, delay); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.down {
		return sdk.Unavailable(time.Second, "the data plane does not answer")
	}
	return ctx.Err()
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// put brings a route into effect.
func (p *plane) put(r sdk.Route) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	there := p.routes[r.ID]
	if there == nil || there.removed {
		there = &planeRoute{members: map[string]*member{}}
	}
	if err := p.listen(r.Listen, r.Protocol); err != nil {
		return err
	}
	p.routes[r.ID] = there
	if p.is("apply is a step") {
		r.Pools = append(slices.Clone(there.spec.Pools), r.Pools...)
	}
	there.before, there.spec = there.spec, r
	for id, m := range there.members {
		m.inRoute = false
		if p.is("counters begin anew with every apply") {
			there.members[id] = &member{EndpointObservation: sdk.EndpointObservation{ID: m.ID, Address: m.Address, State: m.State}, ctx: m.ctx, cut: m.cut}
		}
	}
	for _, pool := range r.Pools {
		for _, e := range pool.Endpoints {
			m := there.members[e.ID]
			if m == nil {
				m = newMember(e)
				there.members[e.ID] = m
			}
			m.inRoute = true
		}
	}
	there.sweep(p.is("cuts requests in flight at a switch"))
	return nil
}

// sweep forgets endpoints that have left and have nothing in flight.
func (r *planeRoute) sweep(cut bool) {
	for id, m := range r.members {
		if m.inRoute {
			continue
		}
		if cut {
			m.cut()
		}
		if m.InFlight == 0 {
			m.cut()
			delete(r.members, id)
		}
	}
}

// remove ends a route; what is in flight has the drain to come to its end.
func (p *plane) remove(id string, generation uint64, drain time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.is("remove ends all routes") {
		clear(p.routes)
	}
	r := p.routes[id]
	if r == nil || r.removed || p.is("a removed route goes on") {
		return
	}
	r.removed = true
	r.spec.Generation = generation
	r.spec.Pools = nil
	for _, m := range r.members {
		m.inRoute = false
	}
	r.release()
	r.sweep(p.is("cuts requests in flight at remove"))
	p.tidy(r.spec.Listen)
	if len(r.members) == 0 {
		delete(p.routes, id)
		return
	}
	time.AfterFunc(drain, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		r.sweep(!p.is("never ends what outlives the drain"))
	})
}

// ended forgets a removed route that has come to its end. p.mu must be held.
func (p *plane) ended(r *planeRoute) {
	r.sweep(false)
	if r.removed && len(r.members) == 0 && p.routes[r.spec.ID] == r {
		delete(p.routes, r.spec.ID)
	}
}

// observe reads a route back.
func (p *plane) observe(id string) (sdk.Observation, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.routes[id]
	if r == nil && p.is("observes what there is not") {
		return sdk.Observation{Route: id}, nil
	}
	if r == nil {
		return sdk.Observation{}, sdk.NotFound("there is no route %q", id)
	}
	o := sdk.Observation{Route: id, Generation: r.spec.Generation, Listening: !r.removed, Held: r.waiting}
	for _, pool := range r.spec.Pools {
		seen := sdk.PoolObservation{Revision: pool.Revision, Weight: pool.Weight, Preview: pool.Preview && !p.is("does not observe previews")}
		for _, e := range pool.Endpoints {
			seen.Endpoints = append(seen.Endpoints, r.members[e.ID].observe())
		}
		o.Pools = append(o.Pools, seen)
	}
	for _, m := range r.members {
		if e := m.observe(); !m.inRoute && !p.is("does not report what is draining") {
			e.State = sdk.EndpointDraining
			o.Draining = append(o.Draining, e)
		}
	}
	return o, nil
}

func (m *member) observe() sdk.EndpointObservation {
	e := m.EndpointObservation
	slices.Sort(m.times)
	if n := len(m.times); n > 0 {
		e.Latency = sdk.Latency{P50: m.times[n/2], P90: m.times[n*9/10], P99: m.times[n*99/100], Max: m.times[n-1], Count: uint64(n)}
	}
	return e
}

// list has the ids of all routes.
func (p *plane) list() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var ids []string
	for id, r := range p.routes {
		if !r.removed {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

func (p *plane) hold(id string, limits sdk.HoldLimits) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.routes[id]
	if (r == nil || r.removed) && p.is("holds what there is not") {
		return nil
	}
	if r == nil || r.removed {
		return sdk.NotFound("there is no route %q", id)
	}
	r.release()
	held := make(chan struct{})
	r.held, r.limit = held, limits.Requests
	if limits.Requests == 0 || p.is("ignores the limit of a hold") {
		r.limit = 1000
	}
	if p.is("a hold never ends") {
		return nil
	}
	time.AfterFunc(limits.Timeout, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if r.held == held {
			r.release()
		}
	})
	return nil
}

func (p *plane) free(id string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.routes[id]
	if r == nil {
		return sdk.NotFound("there is no route %q", id)
	}
	r.release()
	return nil
}

func (r *planeRoute) release() {
	if r.held != nil {
		close(r.held)
		r.held = nil
	}
}

// stop ends all listeners and connections; start brings them back.
func (p *plane) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = true
	for address, l := range p.lines {
		l.close()
		delete(p.lines, address)
	}
}

func (p *plane) start() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = false
	var errs []error
	for _, r := range p.routes {
		if p.is("comes back with an older state") && r.before.Generation > 0 {
			r.spec = r.before
			for _, pool := range r.spec.Pools {
				for _, e := range pool.Endpoints {
					r.members[e.ID] = &member{EndpointObservation: sdk.EndpointObservation{ID: e.ID, Address: e.Address}, inRoute: true, ctx: context.Background(), cut: func() {}}
				}
			}
		}
		if !r.removed {
			errs = append(errs, p.listen(r.spec.Listen, r.spec.Protocol))
		}
	}
	return errors.Join(errs...)
}

// listen opens a listener. p.mu must be held.
func (p *plane) listen(address string, protocol sdk.Protocol) error {
	if p.lines[address] != nil {
		return nil
	}
	if why := p.spoiled[address]; why != "" {
		return sdk.Unavailable(time.Second, "%s", why)
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		switch p.fault {
		case "says that it listens where it cannot":
			return nil
		case "tries an address only once":
			p.spoiled[address] = "it was in use"
		}
		return sdk.Unavailable(time.Second, "listening on %s: %w", address, err)
	}
	l := &line{plane: p, address: address, listener: listener, conns: map[net.Conn]bool{}}
	p.lines[address] = l
	if protocol == sdk.ProtocolTCP {
		go l.accept()
		return nil
	}
	l.server = &http.Server{Handler: l, ReadHeaderTimeout: time.Minute}
	go func() { _ = l.server.Serve(listener) }() // ends with close or shut
	return nil
}

// tidy closes the listener at an address if no route is left there. p.mu must be held.
func (p *plane) tidy(address string) {
	for _, r := range p.routes {
		if !r.removed && r.spec.Listen == address {
			return
		}
	}
	if p.is("keeps the address of a removed route") {
		p.spoiled[address] = "another route has it"
	}
	if l := p.lines[address]; l != nil {
		l.shut()
		delete(p.lines, address)
	}
}

// match finds the route of a request. p.mu must be held.
func (p *plane) match(address, host, path string) *planeRoute {
	host, _, _ = strings.Cut(host, ":")
	var best *planeRoute
	score := -1
	for _, r := range p.routes {
		if r.removed || r.spec.Listen != address || r.spec.Host != "" && !strings.EqualFold(r.spec.Host, host) {
			continue
		}
		rest, ok := strings.CutPrefix(path, r.spec.Path)
		if !ok || r.spec.Path != "" && rest != "" && rest[0] != '/' {
			continue
		}
		s := len(r.spec.Path)
		if r.spec.Host != "" {
			s += 1000
		}
		if p.is("the shortest path wins") {
			s = 1000 - len(r.spec.Path)
		}
		if s > score {
			best, score = r, s
		}
	}
	return best
}
