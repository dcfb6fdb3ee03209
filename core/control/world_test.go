package control_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/control"
	"github.com/instarhq/instar/core/coretest"
	"github.com/instarhq/instar/core/state"
)

// agentTick is how often the agents of a world look around.
const agentTick = 200 * time.Millisecond

// world is a cluster of one node without drivers: a store, its State, agents that pretend, and the
// Controller and Operations under test. It lives in a synctest bubble.
type world struct {
	t     *testing.T
	ctx   context.Context
	store *crashing
	state *state.State
	ops   *control.Operations

	mu       sync.Mutex
	stop     context.CancelFunc // of the present controller
	budget   int
	backend  map[string]string // instances that run: id → revision's artifact
	made     map[string]int    // how often each instance was ever created
	bad      map[string]bool   // artifacts that never become healthy
	sick     map[string]bool   // instances that are not healthy now
	failing  map[string]*core.Failure
	away     bool // the driver does nothing
	missing  map[string]bool
	planes   map[string]core.Route // what the traffic target has in effect
	quietFor map[string]bool       // instances with requests in flight
}

// crashing is a store whose controller can be made to die at one of its transactions.
type crashing struct {
	*coretest.Store
	mu    sync.Mutex
	count int // transactions of controllers so far
	at    int // the one to die at; 0: none
	after bool
	die   func()
}

var errKilled = errors.New("killed by the test")

func (c *crashing) Propose(ctx context.Context, txn core.Txn) (core.Receipt, error) {
	if txn.Meta.Principal != "controller" {
		return c.Store.Propose(ctx, txn)
	}
	c.mu.Lock()
	c.count++
	dies := c.count == c.at
	c.mu.Unlock()
	if !dies {
		return c.Store.Propose(ctx, txn)
	}
	if c.after {
		if _, err := c.Store.Propose(ctx, txn); err != nil {
			return core.Receipt{}, err
		}
	}
	c.die()
	return core.Receipt{}, errKilled
}

func (c *crashing) crashAt(at int, after bool, die func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at, c.after, c.die = at, after, die
}

func (c *crashing) transactions() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.count
}

// newWorld starts a cluster; the bubble's end ends it.
func newWorld(t *testing.T) *world {
	t.Helper()
	return newWorldWithBudget(t, core.MaxTxnBytes/2)
}

// newWorldWithBudget starts one whose controller writes at most so many bytes at a time.
func newWorldWithBudget(t *testing.T, budget int) *world {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	w := &world{
		t: t, ctx: ctx, budget: budget, store: &crashing{Store: coretest.NewStore()},
		backend: map[string]string{}, made: map[string]int{}, bad: map[string]bool{}, sick: map[string]bool{},
		failing: map[string]*core.Failure{}, missing: map[string]bool{}, planes: map[string]core.Route{}, quietFor: map[string]bool{},
	}
	w.state = state.New(w.store)
	w.ops = control.NewOperations(control.OperationsConfig{State: w.state, Resolver: w, History: w.store})
	var group sync.WaitGroup
	group.Go(func() { _ = w.state.Run(ctx) })
	w.must(w.state.Ready(ctx))
	w.publish()
	group.Go(w.agents)
	group.Go(w.controllers)
	t.Cleanup(func() {
		cancel()
		group.Wait()
	})
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// controllers runs one controller after the other: when one is stopped the next one takes over.
func (w *world) controllers() {
	logger := hclog.New(&hclog.LoggerOptions{Level: hclog.Off})
	for w.ctx.Err() == nil {
		ctx, stop := context.WithCancel(w.ctx)
		w.set(func() { w.stop = stop })
		_ = control.NewWithBudget(control.Config{State: w.state, Logger: logger}, w.budget).Run(ctx)
		stop()
	}
}

// kill ends the present controller.
func (w *world) kill() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stop()
}

// publish writes what the agent of node n1 says of itself.
func (w *world) publish() {
	node := core.Node{Format: core.Format, Name: "n1", Targets: []core.Target{
		{Kind: core.DriverCompute, Driver: "process", Name: "local", Scope: core.ScopeNode, Healthy: true},
		{Kind: core.DriverTraffic, Driver: "proxy", Name: "local", Scope: core.ScopeNode, Healthy: true},
	}}
	w.update("agent:n1", func(tx *state.Tx) {
		state.Nodes.Put(tx, "n1", node)
		for _, d := range []core.Driver{{Kind: core.DriverCompute, Name: "process"}, {Kind: core.DriverTraffic, Name: "proxy"}} {
			d.Format, d.Node, d.Version = core.Format, "n1", "1.0.0"
			state.Drivers.Put(tx, core.DriverID("n1", d.Kind, d.Name), d)
		}
	})
}

func (w *world) update(principal string, fn func(tx *state.Tx)) {
	_, err := w.state.Update(w.ctx, core.Meta{Principal: principal, Verb: "test"}, func(tx *state.Tx) error {
		fn(tx)
		return nil
	})
	if err != nil && w.ctx.Err() == nil {
		w.t.Errorf("%s: %v", principal, err)
	}
}

// Resolve implements control.Resolver.
func (w *world) Resolve(_ context.Context, _ core.Compute, a core.Artifact) (core.Artifact, error) {
	if strings.Contains(a.Source, "missing") {
		return a, core.Errorf(core.CodeNotFound, "there is no file %s", a.Source).WithHint("build it first")
	}
	a.Digest = core.DigestBytes([]byte(a.Source))
	return a, nil
}

// agents do, again and again, all that is to be done.
func (w *world) agents() {
	ticker := time.NewTicker(agentTick)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			w.update("agent:n1", w.look)
		case <-w.ctx.Done():
			return
		}
	}
}

func (w *world) look(tx *state.Tx) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, id := range slices.Sorted(maps.Keys(maps.Collect(state.Instances.All(tx)))) {
		inst, _ := state.Instances.Get(tx, id)
		s, _ := state.InstanceStatuses.Get(tx, id)
		if next := w.observe(tx, inst, s); next.Phase != s.Phase || next.Healthy != s.Healthy || next.Unhealthy != s.Unhealthy {
			next.Format, next.ID, next.Service, next.Node = core.Format, id, inst.Service, inst.Node
			next.Verified = next.Verified || next.Healthy
			state.InstanceStatuses.Put(tx, id, next)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(maps.Collect(state.Routes.All(tx)))) {
		w.carry(tx, name)
	}
	for name := range maps.Collect(state.Services.All(tx)) {
		w.smoke(tx, name)
	}
}

// observe does what an agent does for an instance, and returns what it then sees.
func (w *world) observe(tx *state.Tx, inst core.Instance, s core.InstanceStatus) core.InstanceStatus {
	_, runs := w.backend[inst.ID]
	rev, _ := state.Revisions.Get(tx, core.RevisionID(inst.Service, inst.Revision))
	source := rev.Spec.Artifact.Source
	switch {
	case w.away || s.Phase == core.InstanceGone:
	case inst.Desired == core.DesiredDestroy:
		delete(w.backend, inst.ID)
		s.Phase, s.Healthy = core.InstanceGone, false
	case s.Phase.Over():
	case s.Phase < core.InstanceRunning && w.failing[source] != nil:
		s.Phase, s.Failure = core.InstanceFailed, w.failing[source]
	case s.Phase < core.InstanceRunning:
		if !runs {
			w.backend[inst.ID] = source
			w.made[inst.ID]++
		}
		s.Phase, s.Addresses = core.InstanceRunning, map[string]string{"http": "127.0.0.1:8000"}
	case w.missing[inst.ID]:
		delete(w.backend, inst.ID)
		s.Phase, s.Healthy, s.Failure = core.InstanceLost, false, &core.Failure{Message: "the driver no longer knows it"}
	default:
		s.Healthy, s.Unhealthy = !w.bad[source] && !w.sick[inst.ID], ""
		if !s.Healthy {
			s.Unhealthy = "GET /healthz 503"
		}
	}
	return s
}

// carry does what an agent does for a route.
func (w *world) carry(tx *state.Tx, name string) {
	route, _ := state.Routes.Get(tx, name)
	if w.planes[name].Generation < route.Generation {
		w.planes[name] = route
		for id := range w.made {
			delete(w.quietFor, id)
		}
		return // reported with the next look
	}
	s := core.RouteStatus{
		Format: core.Format, Route: name, Node: "n1", Driver: "proxy", Target: "local",
		Generation: route.Generation, Removed: route.Removed,
	}
	for id, inst := range state.Instances.By(tx, state.ByService, route.Service) {
		if inst.Desired == core.DesiredDrain && !w.quietFor[id] {
			s.Quiet = append(s.Quiet, id)
		}
	}
	id := core.RouteStatusID(name, "n1", "local")
	if old, _ := state.RouteStatuses.Get(tx, id); old.Generation != s.Generation || old.Removed != s.Removed || !slices.Equal(old.Quiet, s.Quiet) {
		state.RouteStatuses.Put(tx, id, s)
	}
}

func (w *world) smoke(tx *state.Tx, service string) {
	svc, _ := state.Services.Get(tx, service)
	r, _ := state.Rollouts.Get(tx, core.RolloutID(service, svc.Rollouts))
	rev, _ := state.Revisions.Get(tx, core.RevisionID(service, r.To))
	if r.Phase != core.RolloutVerifying || len(rev.Spec.Rollout.Smoke) == 0 {
		return
	}
	has := w.planes[rev.Spec.Rollout.Smoke[0].Route]
	id := core.CheckID(r.ID(), "n1", "proxy", "local")
	if state.Checks.Seq(tx, id) == 0 && slices.ContainsFunc(has.Pools, func(p core.Pool) bool { return p.Revision == r.To && p.Preview }) {
		state.Checks.Put(tx, id, core.Check{Format: core.Format, Rollout: r.ID(), Service: service, Node: "n1", Driver: "proxy", Target: "local", Passed: 1, Total: 1})
	}
}

// version declares service name at a version, behind a route of the same name.
func version(name string, v, count int) core.Declared {
	return core.Declared{Name: name, Count: count, Spec: core.Spec{
		Artifact: core.Artifact{Source: fmt.Sprintf("%s-%d.tar.gz", name, v)},
		Compute:  core.Compute{Driver: "process"}, Ports: []core.Port{{Name: "http"}},
		Routes: []core.RouteSpec{{Name: name, Driver: "proxy", Listen: fmt.Sprintf(":%d", 8000+len(name)), Protocol: core.ProtocolHTTP, Port: "http"}},
		Rollout: core.RolloutSpec{
			Strategy: core.StrategyBlueGreen, Bake: core.Duration(time.Second), KeepPrevious: core.Duration(4 * time.Second),
			ProgressDeadline: core.Duration(time.Minute),
		},
	}}
}

func ann() core.Meta { return core.Meta{Principal: "local:ann", Verb: "test"} }

func (w *world) apply(declared ...core.Declared) core.Applied {
	w.t.Helper()
	applied, err := w.ops.Apply(w.ctx, ann(), core.Set{Services: declared}, nil)
	w.must(err)
	return applied
}

// until waits for a condition of the view, for at most five minutes of the bubble's time.
func (w *world) until(what string, is func(v *state.View) bool) {
	w.t.Helper()
	for end := time.Now().Add(5 * time.Minute); time.Now().Before(end); {
		if is(w.state.View()) {
			return
		}
		<-time.After(agentTick / 2)
		synctest.Wait()
	}
	v := w.state.View()
	for _, name := range slices.Sorted(maps.Keys(maps.Collect(state.Services.All(v)))) {
		svc, _ := state.Services.Get(v, name)
		w.t.Logf("%+v waits: %s", svc, control.Waiting(v, name, time.Now()))
	}
	w.t.Fatalf("not within five minutes: %s", what)
}

func (w *world) phase(rollout string, phase core.RolloutPhase) {
	w.t.Helper()
	w.until(rollout+" "+phase.String(), func(v *state.View) bool {
		r, _ := state.Rollouts.Get(v, rollout)
		return r.Phase == phase
	})
}

// rest waits until the service has count healthy instances of the revision and nothing else, the
// backend included, and checks that nothing was created twice (I4).
func (w *world) rest(service string, revision, count int) {
	w.t.Helper()
	w.until(fmt.Sprintf("%s with %d instances of revision %d", service, count, revision), func(v *state.View) bool {
		svc, _ := state.Services.Get(v, service)
		if svc.Active != revision || svc.Revision != revision || svc.Count != count {
			return false
		}
		if r, ok := state.Rollouts.Get(v, core.RolloutID(service, svc.Rollouts)); ok && !r.Phase.Over() {
			return false
		}
		n, healthy := 0, 0
		for id, inst := range state.Instances.By(v, state.ByService, service) {
			n++
			if s, _ := state.InstanceStatuses.Get(v, id); s.Healthy && inst.Revision == revision && inst.Desired == core.DesiredRun {
				healthy++
			}
		}
		return n == count && healthy == count
	})
	w.orphans()
}

// orphans fails the test if the backend runs something that the store does not know, or ever made an
// instance twice.
func (w *world) orphans() {
	w.t.Helper()
	v := w.state.View()
	w.mu.Lock()
	defer w.mu.Unlock()
	for id := range w.backend {
		if state.Instances.Seq(v, id) == 0 {
			w.t.Errorf("I4: %s runs, and no record says so", id)
		}
	}
	for id, n := range w.made {
		if n != 1 {
			w.t.Errorf("I4: %s was created %d times", id, n)
		}
	}
}

// instances are the ids of the shop's instances that are wanted to run, sorted.
func (w *world) instances() []string {
	var ids []string
	for id, inst := range state.Instances.By(w.state.View(), state.ByService, "shop") {
		if inst.Desired == core.DesiredRun {
			ids = append(ids, id)
		}
	}
	return ids
}

// set changes the world around the controller.
func (w *world) set(change func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change()
}
