package sdktest

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/instarhq/instar/sdk"
)

// NoopRoutes is the data plane that NoopTraffic drivers work on; it outlives them. The zero value is empty.
type NoopRoutes struct {
	mu          sync.Mutex
	routes      map[string]sdk.Route
	generations map[string]uint64 // also of removed routes
	seen        uint64            // highest cluster generation
}

// NoopTraffic is a traffic driver without a data plane: it remembers what was applied, and nothing is ever
// in flight.
type NoopTraffic struct {
	Name   string      // default "noop"
	Routes *NoopRoutes // default: some of its own
	Health sdk.Health  // reported if Reason is set; default healthy
}

var _ sdk.Traffic = (*NoopTraffic)(nil)

// NewNoopTraffic returns a driver on a data plane; nil: one of its own.
func NewNoopTraffic(routes *NoopRoutes) *NoopTraffic {
	if routes == nil {
		routes = &NoopRoutes{}
	}
	return &NoopTraffic{Routes: routes}
}

// Describe implements sdk.Driver.
func (d *NoopTraffic) Describe(context.Context) (sdk.Description, error) {
	return sdk.Description{
		Name: orDefault(d.Name, "noop"), Version: "0.1.0", Kind: sdk.KindTraffic, Scope: sdk.ScopeNode,
		Doc:          "Routes that exist only in the driver's memory, for tests and benchmarks.",
		Capabilities: []sdk.Capability{sdk.CapHTTP, sdk.CapTCP},
	}, nil
}

// Configure implements sdk.Driver.
func (d *NoopTraffic) Configure(_ context.Context, req sdk.ConfigureRequest) error {
	if err := sdk.Decode(nil, req.Config, &struct{}{}); err != nil {
		return err
	}
	d.Routes.mu.Lock()
	defer d.Routes.mu.Unlock()
	if req.Generation < d.Routes.seen {
		return sdk.Conflict("generation %d is older than %d, which was seen before", req.Generation, d.Routes.seen)
	}
	d.Routes.seen = req.Generation
	return nil
}

// Probe implements sdk.Driver.
func (d *NoopTraffic) Probe(ctx context.Context, report func(sdk.Health) error) error {
	return probeOnce(ctx, d.Health, report)
}

// Apply implements sdk.Traffic.
func (d *NoopTraffic) Apply(_ context.Context, route sdk.Route) error {
	if err := sdk.Decode(nil, route.Config, &struct{}{}); err != nil {
		return err
	}
	if err := checkRoute(route); err != nil {
		return err
	}
	r := d.Routes
	r.mu.Lock()
	defer r.mu.Unlock()
	_, there := r.routes[route.ID]
	switch known := r.generations[route.ID]; {
	case route.Generation < known, route.Generation == known && !there:
		return sdk.Conflict("route %s: generation %d is older than %d, which is in effect", route.ID, route.Generation, known)
	case route.Generation == known:
		return nil
	}
	if r.routes == nil {
		r.routes, r.generations = map[string]sdk.Route{}, map[string]uint64{}
	}
	r.routes[route.ID] = route
	r.generations[route.ID] = route.Generation
	return nil
}

// checkRoute refuses what no data plane could do.
func checkRoute(r sdk.Route) error {
	switch {
	case r.ID == "":
		return sdk.InvalidConfig("id", "a route needs an id")
	case r.Generation == 0:
		return sdk.InvalidConfig("generation", "generations begin with 1")
	case r.Protocol != sdk.ProtocolHTTP && r.Protocol != sdk.ProtocolTCP:
		return sdk.InvalidConfig("protocol", "%q is neither http nor tcp", r.Protocol)
	case r.Path != "" && r.Path[0] != '/':
		return sdk.InvalidConfig("path", "%q does not begin with /", r.Path)
	}
	if err := sdk.CheckAddress(r.Listen); err != nil {
		return sdk.InvalidConfig("listen", "%q is no address: %w", r.Listen, err)
	}
	return sdk.CheckPools(r.Pools)
}

// Observe implements sdk.Traffic.
func (d *NoopTraffic) Observe(_ context.Context, id string) (sdk.Observation, error) {
	d.Routes.mu.Lock()
	defer d.Routes.mu.Unlock()
	route, ok := d.Routes.routes[id]
	if !ok {
		return sdk.Observation{}, sdk.NotFound("there is no route %q", id)
	}
	o := sdk.Observation{Route: id, Generation: route.Generation, Listening: true}
	for _, p := range route.Pools {
		pool := sdk.PoolObservation{Revision: p.Revision, Weight: p.Weight, Preview: p.Preview}
		for _, e := range p.Endpoints {
			pool.Endpoints = append(pool.Endpoints, sdk.EndpointObservation{ID: e.ID, Address: e.Address, State: sdk.EndpointUp})
		}
		o.Pools = append(o.Pools, pool)
	}
	slices.SortFunc(o.Pools, func(a, b sdk.PoolObservation) int { return cmp.Compare(a.Revision, b.Revision) })
	return o, nil
}

// List implements sdk.Traffic.
func (d *NoopTraffic) List(context.Context) ([]string, error) {
	d.Routes.mu.Lock()
	defer d.Routes.mu.Unlock()
	var ids []string
	for id := range d.Routes.routes {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids, nil
}

// Remove implements sdk.Traffic.
func (d *NoopTraffic) Remove(_ context.Context, id string, generation uint64, _ time.Duration) error {
	r := d.Routes
	r.mu.Lock()
	defer r.mu.Unlock()
	if generation < r.generations[id] {
		return sdk.Conflict("route %s: generation %d is older than %d, which is in effect", id, generation, r.generations[id])
	}
	delete(r.routes, id)
	if r.generations == nil {
		r.routes, r.generations = map[string]sdk.Route{}, map[string]uint64{}
	}
	r.generations[id] = generation
	return nil
}

// Hold implements sdk.Traffic.
func (d *NoopTraffic) Hold(context.Context, string, sdk.HoldLimits) error {
	return sdk.Unsupported("this driver holds no requests")
}

// Release implements sdk.Traffic.
func (d *NoopTraffic) Release(context.Context, string) error {
	return sdk.Unsupported("this driver holds no requests")
}
