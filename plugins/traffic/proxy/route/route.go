package route

import (
	"sync"
	"time"

	"github.com/instarhq/instar/sdk"
)

// DefaultDrain is how long requests in flight on an endpoint that left get if the route does not say.
const DefaultDrain = 30 * time.Second

// Options are the settings of a route that do not concern its pools.
type Options struct {
	Balance         Balance
	ResponseTimeout time.Duration // for the first byte of an answer
	MaxBody         int64         // of a request; 0: no limit
}

// Route is one route with its pools. The zero value is not usable; New makes one.
type Route struct {
	ID string

	mu         sync.Mutex
	generation uint64
	options    *Options
	balance    Balance
	pools      []*pool
	active     []*pool // those with a weight
	endpoints  map[sdk.Endpoint]*Endpoint
	draining   map[sdk.Endpoint]*Endpoint
	hold       *hold
	patience   patience
	gone       bool
}

// New makes a route without pools.
func New(id string) *Route {
	return &Route{
		ID: id, options: &Options{}, endpoints: make(map[sdk.Endpoint]*Endpoint), draining: make(map[sdk.Endpoint]*Endpoint),
	}
}

// Apply replaces the pools. When it returns, claims follow them. An endpoint that stays keeps its
// connections and counters, one that comes back while it drains is taken up again.
func (r *Route) Apply(spec sdk.Route, options *Options) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.generation, r.options, r.balance = spec.Generation, options, options.Balance
	old := r.endpoints
	r.endpoints = make(map[sdk.Endpoint]*Endpoint)
	r.pools, r.active = nil, nil
	for _, p := range spec.Pools {
		np := &pool{revision: p.Revision, weight: p.Weight, preview: p.Preview}
		for _, e := range p.Endpoints {
			np.endpoints = append(np.endpoints, r.enter(old, e))
		}
		r.pools = append(r.pools, np)
		if np.weight > 0 {
			r.active = append(r.active, np)
		}
	}
	for key, e := range old {
		if _, stays := r.endpoints[key]; !stays {
			r.leave(key, e, drainOf(spec.Drain))
		}
	}
	r.patience.tell()
}

func drainOf(d time.Duration) time.Duration {
	if d <= 0 {
		return DefaultDrain
	}
	return d
}

// enter finds or makes an endpoint.
func (r *Route) enter(old map[sdk.Endpoint]*Endpoint, key sdk.Endpoint) *Endpoint {
	e := r.endpoints[key]
	if e == nil {
		e = old[key]
	}
	if e == nil {
		if e = r.draining[key]; e != nil {
			delete(r.draining, key)
			e.left = false
			e.deadline.Stop()
			e.Conns.Open()
		}
	}
	if e == nil {
		e = newEndpoint(key)
	}
	r.endpoints[key] = e
	return e
}

// leave takes an endpoint out of the route; what it has in flight goes on for at most drain.
func (r *Route) leave(key sdk.Endpoint, e *Endpoint, drain time.Duration) {
	e.left = true
	e.Conns.Close()
	if e.inFlight == 0 {
		return
	}
	r.draining[key] = e
	e.deadline = time.AfterFunc(drain, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if e.left {
			e.abort()
		}
	})
}

// quiet is called when the last request of an endpoint that left has ended.
func (r *Route) quiet(e *Endpoint) {
	if e.deadline != nil {
		e.deadline.Stop()
	}
	delete(r.draining, sdk.Endpoint{ID: e.ID, Address: e.Address})
}

// Remove ends the route: claims fail, what is in flight goes on for at most drain.
func (r *Route) Remove(drain time.Duration) {
	r.mu.Lock()
	r.gone = true
	for key, e := range r.endpoints {
		r.leave(key, e, drain)
	}
	r.endpoints = make(map[sdk.Endpoint]*Endpoint)
	r.pools, r.active = nil, nil
	r.patience.tell()
	r.mu.Unlock()
	r.Release()
}

// Options returns the settings in force.
func (r *Route) Options() *Options {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.options
}

// Observe reads the route back; Listening is for the caller to fill in.
func (r *Route) Observe(now time.Time) sdk.Observation {
	r.mu.Lock()
	defer r.mu.Unlock()
	o := sdk.Observation{Route: r.ID, Generation: r.generation}
	if r.hold != nil {
		o.Held = len(r.hold.waiting)
	}
	for _, p := range r.pools {
		po := sdk.PoolObservation{Revision: p.revision, Weight: p.weight, Preview: p.preview}
		for _, e := range p.endpoints {
			po.Endpoints = append(po.Endpoints, e.observe(now))
		}
		o.Pools = append(o.Pools, po)
	}
	for _, e := range r.draining {
		o.Draining = append(o.Draining, e.observe(now))
	}
	return o
}

// Quiet says whether nothing is in flight on endpoints that have left.
func (r *Route) Quiet() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.draining) == 0
}
