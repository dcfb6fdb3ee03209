package agent_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/agent"
	"github.com/instarhq/instar/core/coretest"
	"github.com/instarhq/instar/core/state"
	"github.com/instarhq/instar/sdk"
	"github.com/instarhq/instar/sdk/sdktest"
)

const cluster = "0123456789abcdef"

// node is one node's agent over an in-memory store and drivers without a backend. Store and backends
// outlive the agent, which can be stopped and started again.
type node struct {
	t       testing.TB
	store   *coretest.Store
	state   *state.State
	compute *compute
	traffic *traffic
	host    *host
	bubble  bool // the clock is a synctest bubble's
	quiet   bool // log nothing

	stop func()
}

// newNode makes a node and starts its agent; it must be called in a synctest bubble.
func newNode(t *testing.T) *node {
	n := makeNode(t)
	n.bubble = true
	n.start()
	return n
}

// newNodeInRealTime is newNode for tests with real sockets, for which a bubble's clock stands still.
func newNodeInRealTime(t *testing.T) *node {
	n := makeNode(t)
	n.start()
	return n
}

func makeNode(t testing.TB, options ...coretest.Option) *node {
	n := &node{
		t: t, store: coretest.NewStore(options...),
		compute: &compute{NoopCompute: sdktest.NewNoopCompute(nil)},
		traffic: &traffic{NoopTraffic: sdktest.NewNoopTraffic(nil), draining: map[string][]string{}, errors: map[int][2]uint64{}},
	}
	n.host = newHost(n.compute, n.traffic)
	t.Cleanup(func() { n.stop() })
	return n
}

func (n *node) start() {
	ctx, cancel := context.WithCancel(n.t.Context())
	n.state = state.New(n.store)
	level := hclog.Debug
	if n.quiet {
		level = hclog.Off
	}
	a := agent.New(agent.Config{
		Node: "n1", Version: "1.0.0", Cluster: cluster, Generation: 1, State: n.state, Host: n.host,
		Logger: hclog.New(&hclog.LoggerOptions{Level: level, Output: n.t.Output()}),
	})
	var group sync.WaitGroup
	group.Go(func() { _ = n.state.Run(ctx) })
	group.Go(func() { _ = a.Run(ctx) })
	n.stop = func() { cancel(); group.Wait() }
	n.settle()
}

func freshTraffic() *sdktest.NoopTraffic { return sdktest.NewNoopTraffic(nil) }

func (n *node) restart() {
	n.stop()
	n.start()
}

// settle waits until nothing goes on any more; outside a bubble it cannot.
func (n *node) settle() {
	if n.bubble {
		synctest.Wait()
	}
}

// update writes as control would.
func (n *node) update(fn func(tx *state.Tx)) {
	n.t.Helper()
	_, err := n.state.Update(n.t.Context(), core.Meta{Principal: "controller", Verb: "test.write"}, func(tx *state.Tx) error {
		fn(tx)
		return nil
	})
	if err != nil {
		n.t.Fatal(err)
	}
	n.settle()
}

// after lets time pass.
func (n *node) after(d time.Duration) {
	time.Sleep(d) //nolint:forbidigo // in a bubble, where the clock jumps
	n.settle()
}

func (n *node) status(id string) core.InstanceStatus {
	s, _ := state.InstanceStatuses.Get(n.state.View(), id)
	return s
}

// routeStatus is what has been reported of the route "shop".
func (n *node) routeStatus() core.RouteStatus {
	s, _ := state.RouteStatuses.Get(n.state.View(), core.RouteStatusID("shop", "n1", "local"))
	return s
}

// wantPhase fails unless the instance has been reported in the given phase.
func (n *node) wantPhase(id string, want core.InstancePhase) core.InstanceStatus {
	n.t.Helper()
	s := n.status(id)
	if s.Phase != want {
		n.t.Fatalf("%s is %s, want %s (failure: %+v)", id, s.Phase, want, s.Failure)
	}
	return s
}

func revision(change func(*core.Spec)) core.Revision {
	spec := core.Spec{
		Artifact: core.Artifact{Source: "web.tar.gz", Digest: core.DigestBytes([]byte("web"))},
		Compute:  core.Compute{Driver: "noop", Target: "local"}, Ports: []core.Port{{Name: "http"}},
		Grace: core.Duration(time.Second),
	}
	if change != nil {
		change(&spec)
	}
	digest, _ := core.DigestJSON(spec)
	return core.Revision{Format: core.Format, Service: "web", Number: 1, Digest: digest, Spec: spec}
}

func instance(id string) core.Instance {
	return core.Instance{
		Format: core.Format, ID: id, Service: "web", Revision: 1, Node: "n1", Driver: "noop", Target: "local",
		Desired: core.DesiredRun,
	}
}

// desire changes what is wanted of an instance.
func (n *node) desire(id string, desired core.Desired) {
	n.t.Helper()
	n.update(func(tx *state.Tx) {
		inst, _ := state.Instances.Get(tx, id)
		inst.Desired = desired
		state.Instances.Put(tx, id, inst)
	})
}

// deploy writes a revision and instances of it.
func (n *node) deploy(r core.Revision, ids ...string) {
	n.t.Helper()
	n.update(func(tx *state.Tx) {
		state.Services.Put(tx, "web", core.Service{Format: core.Format, Name: "web", Revision: r.Number, Active: r.Number, Revisions: r.Number})
		state.Revisions.Put(tx, core.RevisionID("web", r.Number), r)
		for _, id := range ids {
			state.Instances.Put(tx, id, instance(id))
		}
	})
}

// host is a node's driver host without processes.
type host struct {
	compute sdk.Compute
	traffic sdk.Traffic
	changed chan struct{}

	mu      sync.Mutex
	targets []core.Target
	down    error // what the targets' calls fail with
}

func newHost(c sdk.Compute, t sdk.Traffic) *host {
	return &host{compute: c, traffic: t, changed: make(chan struct{}, 1), targets: []core.Target{
		{Kind: core.DriverCompute, Driver: "noop", Name: "local", Scope: core.ScopeNode, Healthy: true},
		{Kind: core.DriverTraffic, Driver: "noop", Name: "local", Scope: core.ScopeNode, Healthy: true},
	}}
}

func (h *host) Compute(driver, target string) (sdk.Compute, error) {
	return h.compute, h.find(driver, target)
}

func (h *host) Traffic(driver, target string) (sdk.Traffic, error) {
	return h.traffic, h.find(driver, target)
}

func (h *host) find(driver, target string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if driver != "noop" || target != "local" {
		return core.Errorf(core.CodeNotFound, "no target %s %s", driver, target)
	}
	return h.down
}

func (h *host) Targets() []core.Target {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.targets)
}

func (h *host) Drivers() []core.Driver {
	return []core.Driver{{Name: "noop", Kind: core.DriverCompute}, {Name: "noop", Kind: core.DriverTraffic}}
}

func (h *host) Changed() <-chan struct{} { return h.changed }

// setDown makes the drivers unreachable, or reachable again with nil.
func (h *host) setDown(err error) {
	h.mu.Lock()
	h.down = err
	for i := range h.targets {
		h.targets[i].Healthy = err == nil
	}
	h.mu.Unlock()
	select {
	case h.changed <- struct{}{}:
	default: // not read yet
	}
}

// compute is NoopCompute with knobs and a count of calls.
type compute struct {
	*sdktest.NoopCompute

	mu        sync.Mutex
	fetches   int
	destroyed []string
	kept      [][]string
	onFetch   func(ctx context.Context, progress func(sdk.FetchProgress)) error
	onDestroy func(id string) error
	forge     func(*sdk.Instance) // changes what is listed
}

func (c *compute) Fetch(ctx context.Context, a sdk.Artifact, progress func(sdk.FetchProgress)) error {
	c.mu.Lock()
	c.fetches++
	instead := c.onFetch
	c.mu.Unlock()
	if instead != nil {
		return instead(ctx, progress)
	}
	return c.NoopCompute.Fetch(ctx, a, progress)
}

func (c *compute) Destroy(ctx context.Context, id string, grace time.Duration) error {
	c.mu.Lock()
	c.destroyed = append(c.destroyed, id)
	fail := c.onDestroy
	c.mu.Unlock()
	if fail != nil {
		if err := fail(id); err != nil {
			return err
		}
	}
	return c.NoopCompute.Destroy(ctx, id, grace)
}

func (c *compute) List(ctx context.Context, cluster string) ([]sdk.Instance, error) {
	list, err := c.NoopCompute.List(ctx, cluster)
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range list {
		if c.forge != nil {
			c.forge(&list[i])
		}
	}
	return list, err
}

func (c *compute) Prune(_ context.Context, keep []string) (int64, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.kept = append(c.kept, keep)
	return 1, nil
}

// traffic is NoopTraffic with requests in flight, counters and a count of calls.
type traffic struct {
	*sdktest.NoopTraffic

	mu       sync.Mutex
	applies  int
	observes int
	fail     error
	draining map[string][]string // by route
	errors   map[int][2]uint64   // by revision: failed and all answers
}

func (d *traffic) Apply(ctx context.Context, route sdk.Route) error {
	d.mu.Lock()
	d.applies++
	err := d.fail
	d.mu.Unlock()
	if err != nil {
		return err
	}
	return d.NoopTraffic.Apply(ctx, route)
}

func (d *traffic) Observe(ctx context.Context, id string) (sdk.Observation, error) {
	o, err := d.NoopTraffic.Observe(ctx, id)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.observes++
	for _, endpoint := range d.draining[id] {
		o.Draining = append(o.Draining, sdk.EndpointObservation{ID: endpoint, State: sdk.EndpointDraining, InFlight: 1})
	}
	for i := range o.Pools {
		if counts, ok := d.errors[o.Pools[i].Revision]; ok && len(o.Pools[i].Endpoints) > 0 {
			o.Pools[i].Endpoints[0].Errors, o.Pools[i].Endpoints[0].Requests = counts[0], counts[1]
		}
	}
	return o, err
}

func (d *traffic) set(change func(*traffic)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	change(d)
}

func (d *traffic) calls() (applies, observes int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.applies, d.observes
}
