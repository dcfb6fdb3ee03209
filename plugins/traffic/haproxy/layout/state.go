package layout

import (
	"encoding/json"
	"maps"
	"slices"
	"time"

	"github.com/instarhq/instar/sdk"
)

// State is all that the driver remembers. The configuration file and the map file follow from it.
type State struct {
	Format    int
	Configure *sdk.ConfigureRequest `json:",omitempty"` // without StateDir
	Owner     Owner                 // the process that was configured last
	Version   string                // of the HAProxy that was seen last; empty: none yet
	Routes    map[string]*Route
	Removed   map[string]uint64 // generations with which routes were removed
	Gone      []*Route          // removed routes with requests in flight
}

// Owner is a process of the driver.
type Owner struct {
	PID   int
	Token string // different for each process; empty: nobody
}

// Route is a route and its places in HAProxy.
type Route struct {
	Spec     sdk.Route
	Name     string // in names of HAProxy
	Backends []Backend
}

// Backend is one prepared pool of slots.
type Backend struct {
	Revision int // 0: free
	Slots    []Slot
	// Config is the route's configuration as the revision had it when it got its first requests: how it is checked
	// must not change because another one is checked differently. nil: the route's present one.
	Config json.RawMessage `json:",omitempty"`
}

// Slot is one server line.
type Slot struct {
	ID      string        `json:",omitempty"` // the endpoint's; empty: free
	Wanted  string        `json:",omitempty"` // its address as the route has it
	Address string        `json:",omitempty"` // the same as IP:port
	Checked bool          `json:",omitempty"` // a check of HAProxy has found it well once, so it may start as up
	Leaves  time.Time     `json:",omitzero"`  // the drain deadline of an endpoint that has left the route
	Left    time.Time     `json:",omitzero"`  // when it left
	Base    map[int]Count `json:",omitempty"` // by worker: what the slot's earlier endpoints had
	Carry   Count         `json:",omitzero"`  // what it had in workers that have ended
	Folded  []int         `json:",omitempty"` // the newest workers whose counts are in Carry
}

// Count is what a server has counted.
type Count struct{ Requests, Errors uint64 }

// Free says that the slot has no endpoint.
func (s *Slot) Free() bool { return s.ID == "" }

// Leaving says that the endpoint is no longer part of the route.
func (s *Slot) Leaving() bool { return !s.Leaves.IsZero() }

// Serving says that the slot has an endpoint that is part of the route.
func (s *Slot) Serving() bool { return !s.Free() && !s.Leaving() }

// New is the state of a driver that has done nothing yet.
func New() State {
	return State{Format: Format, Routes: make(map[string]*Route), Removed: make(map[string]uint64)}
}

// Clone copies the state so deep that the copy can be changed.
func (s State) Clone() State {
	next := s
	next.Removed = maps.Clone(s.Removed)
	next.Routes = make(map[string]*Route, len(s.Routes))
	for id, r := range s.Routes {
		next.Routes[id] = r.Clone()
	}
	next.Gone = make([]*Route, len(s.Gone))
	for i, r := range s.Gone {
		next.Gone[i] = r.Clone()
	}
	return next
}

// Clone copies the route so deep that the copy's places can be changed.
func (r *Route) Clone() *Route {
	next := *r
	next.Backends = slices.Clone(r.Backends)
	for i := range next.Backends {
		next.Backends[i].Slots = slices.Clone(next.Backends[i].Slots)
		for j := range next.Backends[i].Slots {
			slot := &next.Backends[i].Slots[j]
			slot.Base, slot.Folded = maps.Clone(slot.Base), slices.Clone(slot.Folded)
		}
	}
	return &next
}

// Pool returns the index of the revision's backend, or -1.
func (r *Route) Pool(revision int) int {
	return slices.IndexFunc(r.Backends, func(b Backend) bool { return b.Revision == revision })
}

// Ordered are the routes in the order of their ids.
func (s State) Ordered() []*Route {
	var routes []*Route
	for _, id := range slices.Sorted(maps.Keys(s.Routes)) {
		routes = append(routes, s.Routes[id])
	}
	return routes
}

// Slots is how many slots there are in all.
func (s State) Slots() (n int) {
	for _, r := range s.Routes {
		for i := range r.Backends {
			n += len(r.Backends[i].Slots)
		}
	}
	return n
}

// Leaving says that some endpoint, of any route, is on its way out.
func (s State) Leaving() bool {
	if len(s.Gone) > 0 {
		return true
	}
	for _, r := range s.Routes {
		for i := range r.Backends {
			for j := range r.Backends[i].Slots {
				if r.Backends[i].Slots[j].Leaving() {
					return true
				}
			}
		}
	}
	return false
}
