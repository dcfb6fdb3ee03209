package sdktest

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/instarhq/instar/sdk"
)

// TrafficFixture is a traffic driver in a state that checks can begin with.
type TrafficFixture struct {
	Driver    sdk.Traffic
	Configure sdk.ConfigureRequest // what Driver was configured with

	// What follows is optional; checks that need it are skipped without.

	Harness
	Config    json.RawMessage // of the workload schema, for every route
	DataPlane bool            // requests sent to a route's Listen are carried, as CapHTTP and CapTCP say

	// Reopen gives a fresh driver, configured on the same state; the old process is gone. Unconfigured is the same
	// without Configure. Crash is Reopen at a moment when calls are under way, which end with an error.
	Reopen, Unconfigured, Crash func(T) sdk.Traffic
}

// Traffic runs the conformance suite of traffic drivers. open makes a fixture for each check.
func Traffic[R interface {
	T
	Runner[R]
}](t R, open func(T) TrafficFixture) {
	t.Helper()
	run(t, TrafficChecks(open))
}

// TrafficChecks are the checks of the suite, in order.
func TrafficChecks(open func(T) TrafficFixture) []Check {
	checks := commonChecks(sdk.KindTraffic, func(t T) commonFixture {
		f := open(t)
		common := commonFixture{Harness: &f.Harness, driver: f.Driver, request: f.Configure}
		if f.Unconfigured != nil {
			common.unconfigured = func(t T) sdk.Driver { return f.Unconfigured(t) }
		}
		return common
	})
	for _, group := range [][]trafficCheck{
		trafficState, trafficMemory, trafficInterrupted, trafficRequests, trafficStreams, trafficRemoval, trafficCounts,
		trafficHold, trafficLimits, trafficBackend,
	} {
		for _, c := range group {
			checks = append(checks, Check{c.name, c.promise, func(t T) {
				r := &trafficRun{T: t, TrafficFixture: open(t)}
				defer r.tidyUp()
				c.run(r)
			}})
		}
	}
	return checks
}

type trafficCheck struct {
	name    string
	promise string
	run     func(*trafficRun)
}

// trafficRun is one check under way.
type trafficRun struct {
	T
	TrafficFixture
	ending
}

func (c *trafficRun) has(capability sdk.Capability) bool {
	c.Helper()
	return slices.Contains(describe(c.Context(), c, c.Driver).Capabilities, capability)
}

// route is a fresh HTTP route without pools; it is removed after the check.
func (c *trafficRun) route() sdk.Route {
	c.Helper()
	r := sdk.Route{
		ID: newID("conformance"), Generation: 1, Listen: freeAddress(c), Protocol: sdk.ProtocolHTTP,
		Drain: time.Second, Config: c.Config,
	}
	c.atEnd(func() {
		ctx, cancel := context.WithTimeout(context.Background(), c.patience())
		defer cancel()
		if err := c.Driver.Remove(ctx, r.ID, 1<<40, 0); err != nil {
			c.Errorf("Remove %s after the check: %v", r.ID, err)
		}
	})
	return r
}

// Addresses of routes have ports below those that the kernel gives to outgoing connections: one stays free while a
// check restarts the driver that listens there.
const (
	firstPort = 10000
	lastPort  = 19999
)

// givenPorts are those that this process has chosen; no check gets one of another.
var givenPorts sync.Map

// freeAddress finds a loopback address that nobody listens on just now.
func freeAddress(t T) string {
	t.Helper()
	for _, n := range rand.Perm(lastPort - firstPort + 1) { //nolint:gosec // any will do
		address := net.JoinHostPort("127.0.0.1", strconv.Itoa(firstPort+n))
		if _, given := givenPorts.LoadOrStore(address, true); given {
			continue
		}
		l, err := net.Listen("tcp", address)
		if errors.Is(err, syscall.EADDRINUSE) {
			continue
		}
		if err != nil {
			t.Fatalf("looking for a free port: %v", err)
		}
		_ = l.Close() // only its address was wanted
		return address
	}
	t.Fatalf("no port of 127.0.0.1 from %d to %d is free", firstPort, lastPort)
	return ""
}

// next is the route with a higher generation and other pools.
func next(r sdk.Route, pools ...sdk.Pool) sdk.Route {
	r.Generation++
	r.Pools = pools
	return r
}

// pool is a pool of one endpoint for each address.
func pool(revision, weight int, addresses ...string) sdk.Pool {
	p := sdk.Pool{Revision: revision, Weight: weight}
	for _, a := range addresses {
		p.Endpoints = append(p.Endpoints, sdk.Endpoint{ID: "i-" + a, Address: a})
	}
	return p
}

func (c *trafficRun) apply(r sdk.Route) {
	c.Helper()
	ctx, cancel := context.WithTimeout(c.Context(), c.patience())
	defer cancel()
	if err := c.Driver.Apply(ctx, r); err != nil {
		c.Fatalf("Apply %s generation %d: %v", r.ID, r.Generation, err)
	}
}

func (c *trafficRun) observe(id string) sdk.Observation {
	c.Helper()
	o, err := c.Driver.Observe(c.Context(), id)
	if err != nil {
		c.Fatalf("Observe %s: %v", id, err)
	}
	return o
}

// inEffect wants the data plane to have exactly this route.
func (c *trafficRun) inEffect(r sdk.Route) {
	c.Helper()
	o := c.observe(r.ID)
	if o.Route != r.ID || o.Generation != r.Generation || !o.Listening {
		c.Errorf("Observe gives route %q, generation %d, listening %v; want %q, %d, true", o.Route, o.Generation, o.Listening, r.ID, r.Generation)
	}
	got, want := shapeOf(o), shapeOfRoute(r)
	if !slices.Equal(got, want) {
		c.Errorf("Observe gives endpoints %v, want %v", clipped(got), clipped(want))
	}
}

// shape is one endpoint of a route with all that Apply says of it, in a form that compares.
type shape struct {
	revision, weight int
	preview          bool
	id, address      string
}

func shapeOf(o sdk.Observation) []shape {
	var out []shape
	for _, p := range o.Pools {
		for _, e := range p.Endpoints {
			out = append(out, shape{p.Revision, p.Weight, p.Preview, e.ID, e.Address})
		}
	}
	return sortedShapes(out)
}

func shapeOfRoute(r sdk.Route) []shape {
	var out []shape
	for _, p := range r.Pools {
		for _, e := range p.Endpoints {
			out = append(out, shape{p.Revision, p.Weight, p.Preview, e.ID, e.Address})
		}
	}
	return sortedShapes(out)
}

func sortedShapes(list []shape) []shape {
	slices.SortFunc(list, func(a, b shape) int { return cmp.Or(cmp.Compare(a.revision, b.revision), cmp.Compare(a.id, b.id)) })
	return list
}

func clipped(list []shape) []shape { return list[:min(len(list), 6)] }
