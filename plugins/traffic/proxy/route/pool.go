package route

import (
	"slices"
	"time"
)

// Balance is how a pool chooses among its endpoints.
type Balance int

// The ways to choose.
const (
	LeastInFlight Balance = iota // the endpoint with the fewest requests in flight, in turn among equals
	RoundRobin
)

// pool is one revision's share; guarded by the route's lock.
type pool struct {
	revision  int
	weight    int
	preview   bool
	endpoints []*Endpoint

	current int // of smooth weighted round robin
	next    int // where the search for an endpoint begins
}

// choose gives the flight an endpoint that it has not tried, or none. With desperate set, endpoints that are down
// are taken too.
func (p *pool) choose(f *Flight, now time.Time, balance Balance, desperate bool) *Endpoint {
	var best *Endpoint
	n := len(p.endpoints)
	at := 0
	for i := range n {
		j := p.next + i
		if j >= n {
			j -= n
		}
		e := p.endpoints[j]
		if !desperate && !e.usable(now) || len(f.tried) > 0 && slices.Contains(f.tried, e) {
			continue
		}
		if best == nil || e.inFlight < best.inFlight {
			best, at = e, j
			if balance == RoundRobin || e.inFlight == 0 {
				break
			}
		}
	}
	if best != nil {
		p.next = at + 1
		if p.next >= n {
			p.next = 0
		}
		f.trial = 0
		if best.down {
			if best.usable(now) {
				f.trial = best.backoff
			}
			// One request tries; the others wait for what it finds.
			best.retryAt = now.Add(best.backoff)
		}
	}
	return best
}

// pick chooses a pool by weight and an endpoint in it. Weights are served exactly, in turn, by smooth
// weighted round robin (as nginx does it). A pool without an endpoint that can take the request leaves its
// share to the others.
func (r *Route) pick(f *Flight, now time.Time) (*pool, *Endpoint) {
	for _, desperate := range []bool{false, true} {
		if p, e := r.pickFrom(f, now, desperate); e != nil {
			return p, e
		}
	}
	return nil, nil
}

func (r *Route) pickFrom(f *Flight, now time.Time, desperate bool) (*pool, *Endpoint) {
	if len(r.active) == 1 {
		e := r.active[0].choose(f, now, r.balance, desperate)
		return r.active[0], e
	}
	var best *pool
	total := 0
	for _, p := range r.active {
		if !p.able(now, f.tried, desperate) {
			continue
		}
		p.current += p.weight
		total += p.weight
		if best == nil || p.current > best.current {
			best = p
		}
	}
	if best == nil {
		return nil, nil
	}
	best.current -= total
	e := best.choose(f, now, r.balance, desperate)
	return best, e
}

func (p *pool) able(now time.Time, tried []*Endpoint, desperate bool) bool {
	for _, e := range p.endpoints {
		if (desperate || e.usable(now)) && (len(tried) == 0 || !slices.Contains(tried, e)) {
			return true
		}
	}
	return false
}
