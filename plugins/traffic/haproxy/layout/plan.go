package layout

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/instarhq/instar/sdk"
)

// Sizes say how much is prepared.
type Sizes struct {
	Pools int // backends of a route
	Slots int // slots of a backend, at least
}

// Place brings a route's places to its new spec. now is when endpoints that are no longer wanted leave.
// addresses has IP:port of every endpoint's address.
func Place(old *Route, spec sdk.Route, sizes Sizes, now time.Time, addresses map[string]string) *Route {
	r := &Route{Name: RouteName(spec.ID)}
	if old != nil {
		r = old.Clone()
	}
	r.Spec = spec
	wanted := make(map[int]sdk.Pool)
	for _, p := range spec.Pools {
		wanted[p.Revision] = p
	}
	for i := range r.Backends {
		b := &r.Backends[i]
		pool := wanted[b.Revision]
		for j := range b.Slots {
			if s := &b.Slots[j]; s.Serving() && !slices.Contains(pool.Endpoints, sdk.Endpoint{ID: s.ID, Address: s.Wanted}) {
				s.Left, s.Leaves = now, now.Add(spec.Drain)
			}
		}
		if _, ok := wanted[b.Revision]; !ok {
			b.Revision = 0
		}
	}
	for _, pool := range spec.Pools {
		r.join(pool, sizes, addresses)
		r.configure(pool, weight(old, pool.Revision))
	}
	for len(r.Backends) < sizes.Pools {
		r.Backends = append(r.Backends, Backend{Slots: make([]Slot, max(sizes.Slots, min(r.widest(), largeSpare)))})
	}
	return r
}

// weight is what a revision's pool had.
func weight(old *Route, revision int) int {
	if old == nil {
		return 0
	}
	for _, p := range old.Spec.Pools {
		if p.Revision == revision {
			return p.Weight
		}
	}
	return 0
}

// configure gives the backend of a pool that gets its first requests, or all of them, the route's configuration. If it had
// another one, its endpoints are checked anew, by that; but not those that serve already.
func (r *Route) configure(pool sdk.Pool, before int) {
	b := &r.Backends[r.Pool(pool.Revision)]
	config := r.Spec.Config
	if len(config) == 0 {
		config = json.RawMessage("{}")
	}
	alone := !slices.ContainsFunc(r.Spec.Pools, func(p sdk.Pool) bool { return p.Weight > 0 && p.Revision != pool.Revision })
	if b.Config != nil && (pool.Weight == 0 || before > 0 && !alone) || bytes.Equal(b.Config, config) {
		return
	}
	if b.Config != nil && before == 0 {
		for j := range b.Slots {
			b.Slots[j].Checked = b.Slots[j].Checked && !b.Slots[j].Serving()
		}
	}
	b.Config = config
}

// largeSpare bounds the slots of backends that are prepared and not needed yet.
const largeSpare = 256

func (r *Route) widest() int {
	most := 0
	for i := range r.Backends {
		most = max(most, len(r.Backends[i].Slots))
	}
	return most
}

// join gives the endpoints of a pool their slots.
func (r *Route) join(pool sdk.Pool, sizes Sizes, addresses map[string]string) {
	at := r.Pool(pool.Revision)
	if at < 0 {
		at = r.vacant(len(pool.Endpoints), sizes)
	}
	b := &r.Backends[at]
	if b.Revision != pool.Revision {
		b.Revision, b.Config = pool.Revision, nil
	}
	var missing []sdk.Endpoint
	for _, e := range pool.Endpoints {
		if !slices.ContainsFunc(b.Slots, func(s Slot) bool { return s.ID == e.ID && s.Wanted == e.Address && !s.Leaving() }) {
			missing = append(missing, e)
		}
	}
	if short := len(missing) - b.free(); short > 0 {
		b.Slots = append(b.Slots, make([]Slot, size(len(b.Slots)+short, sizes.Slots)-len(b.Slots))...)
	}
	for j := range b.Slots {
		if len(missing) > 0 && b.Slots[j].Free() {
			e := missing[0]
			b.Slots[j] = Slot{ID: e.ID, Wanted: e.Address, Address: addresses[e.Address]}
			missing = missing[1:]
		}
	}
}

func (b *Backend) free() (n int) {
	for j := range b.Slots {
		if b.Slots[j].Free() {
			n++
		}
	}
	return n
}

// vacant picks a backend for a revision that has none: an empty one that is large enough, or one in which
// others are still leaving, or a new one.
func (r *Route) vacant(need int, sizes Sizes) int {
	best := -1
	for i := range r.Backends {
		b := &r.Backends[i]
		if b.Revision != 0 || b.free() < need {
			continue
		}
		if b.free() == len(b.Slots) {
			return i
		}
		if best < 0 {
			best = i
		}
	}
	if best >= 0 {
		return best
	}
	if len(r.Backends) >= sizes.Pools { // growing one is no worse than adding one: both need a reload
		for i := range r.Backends {
			if r.Backends[i].Revision == 0 {
				return i
			}
		}
	}
	r.Backends = append(r.Backends, Backend{Slots: make([]Slot, size(need, sizes.Slots))})
	return len(r.Backends) - 1
}

// size is how many slots a backend gets that needs so many: some more, so that it need not grow again soon.
func size(need, least int) int { return max(least, need+need/8) }

// Retire makes every endpoint of a removed route leave.
func Retire(r *Route, now time.Time, drain time.Duration) *Route {
	next := r.Clone()
	for i := range next.Backends {
		next.Backends[i].Revision = 0
		for j := range next.Backends[i].Slots {
			s := &next.Backends[i].Slots[j]
			if !s.Free() && (!s.Leaving() || s.Leaves.After(now.Add(drain))) {
				s.Left, s.Leaves = now, now.Add(drain)
			}
		}
	}
	return next
}

// EachSlot calls f for every slot with the names of its backend and server.
func (r *Route) EachSlot(f func(backend, server string, b *Backend, s *Slot)) {
	for i := range r.Backends {
		name := r.BackendName(i)
		for j := range r.Backends[i].Slots {
			f(name, SlotName(j), &r.Backends[i], &r.Backends[i].Slots[j])
		}
	}
}

// String names the route in logs.
func (r *Route) String() string { return fmt.Sprintf("%s generation %d", r.Spec.ID, r.Spec.Generation) }
