package agent_test

import (
	"context"
	"fmt"
	"iter"
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

// region is two nodes that share one compute target and one traffic target, as a cloud account is shared.
type region struct {
	t       *testing.T
	store   *coretest.Store
	state   *state.State // what control knows
	nodes   map[string]*member
	backend *sdktest.NoopBackend

	mu      sync.Mutex
	created map[string][]string // by instance, the nodes that asked for it
}

// member is one node of a region.
type member struct {
	name    string
	leader  *state.State // what the leader's answers are made of
	host    *host
	traffic *traffic
	cut     *cuttable
	mu      sync.Mutex
	until   time.Time // up to when its leases hold
	dead    bool      // no answers come any more
}

// Until implements agent.Leases: answers come all the time, until none comes any more.
func (m *member) Until(id string, epoch uint64) time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.dead {
		m.until = time.Time{}
		if l, _ := state.Leases.Get(m.leader.View(), id); l.Node == m.name && l.Epoch == epoch {
			m.until = time.Now().Add(10 * time.Second)
		}
	}
	return m.until
}

// Answered implements agent.Leases.
func (m *member) Answered() <-chan struct{} { return nil }

func (m *member) silence(is bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.dead = is
}

// cuttable is a node's replica, which stays as it is while the node is cut off.
type cuttable struct {
	*coretest.Store
	mu  sync.Mutex
	off chan struct{} // closed when it is on again; nil: it is on
}

func (c *cuttable) wait(ctx context.Context) error {
	c.mu.Lock()
	off := c.off
	c.mu.Unlock()
	if off == nil {
		return nil
	}
	select {
	case <-off:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *cuttable) cut(is bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if is {
		c.off = make(chan struct{})
	} else {
		close(c.off)
		c.off = nil
	}
}

// Changes implements core.Feed.
func (c *cuttable) Changes(ctx context.Context, after uint64) iter.Seq2[core.Record, error] {
	return func(yield func(core.Record, error) bool) {
		for rec, err := range c.Store.Changes(ctx, after) {
			if c.wait(ctx) != nil || !yield(rec, err) {
				return
			}
		}
	}
}

// Propose implements core.Proposer.
func (c *cuttable) Propose(ctx context.Context, txn core.Txn) (core.Receipt, error) {
	if err := c.wait(ctx); err != nil {
		return core.Receipt{}, core.Errorf(core.CodeTimeout, "cut off: %w", err)
	}
	return c.Store.Propose(ctx, txn)
}

func newRegion(t *testing.T, scope core.Scope) *region {
	r := &region{t: t, store: coretest.NewStore(), nodes: map[string]*member{}, backend: &sdktest.NoopBackend{}, created: map[string][]string{}}
	r.state = state.New(r.store)
	ctx, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	group.Go(func() { _ = r.state.Run(ctx) })
	routes := &sdktest.NoopRoutes{}
	for _, name := range []string{"n1", "n2"} {
		c := &compute{NoopCompute: sdktest.NewNoopCompute(r.backend)}
		c.FailCreate = func(spec sdk.InstanceSpec) error {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.created[spec.ID] = append(r.created[spec.ID], name)
			return nil
		}
		tr := &traffic{NoopTraffic: sdktest.NewNoopTraffic(routes), draining: map[string][]string{}, errors: map[int][2]uint64{}}
		m := &member{name: name, leader: r.state, host: newHost(c, tr), traffic: tr, cut: &cuttable{Store: r.store}}
		for i := range m.host.targets {
			m.host.targets[i].Scope = scope
		}
		st := state.New(m.cut)
		a := agent.New(agent.Config{
			Node: name, Version: "1.0.0", Cluster: cluster, Generation: 1, State: st, Host: m.host, Leases: m,
			Current: func(ctx context.Context) error {
				if err := m.cut.wait(ctx); err != nil {
					return err
				}
				return st.Wait(ctx, r.store.Seq())
			},
			Logger: hclog.New(&hclog.LoggerOptions{Level: hclog.Debug, Output: t.Output()}),
		})
		group.Go(func() { _ = st.Run(ctx) })
		group.Go(func() { _ = a.Run(ctx) })
		r.nodes[name] = m
	}
	t.Cleanup(func() { cancel(); group.Wait() })
	synctest.Wait()
	return r
}

func (r *region) write(fn func(tx *state.Tx)) {
	r.t.Helper()
	_, err := r.state.Update(r.t.Context(), core.Meta{Principal: "controller", Verb: "test"}, func(tx *state.Tx) error { fn(tx); return nil })
	if err != nil {
		r.t.Fatal(err)
	}
	synctest.Wait()
}

func (r *region) after(d time.Duration) {
	time.Sleep(d) //nolint:forbidigo // in a bubble, where the clock jumps
	synctest.Wait()
}

// give writes a lease, and the holder into the instances, as control does.
func (r *region) give(kind core.DriverKind, node string) {
	r.write(func(tx *state.Tx) {
		id := core.LeaseID(kind, "noop", "local")
		l, _ := state.Leases.Get(tx, id)
		state.Leases.Put(tx, id, core.Lease{Format: core.Format, Kind: string(kind), Driver: "noop", Target: "local", Node: node, Epoch: l.Epoch + 1})
		if kind == core.DriverCompute && node != "" {
			var all []core.Instance
			for _, inst := range state.Instances.All(tx) {
				all = append(all, inst)
			}
			for _, inst := range all {
				inst.Node = node
				state.Instances.Put(tx, inst.ID, inst)
			}
		}
	})
}

func (r *region) deploy(node string, ids ...string) {
	r.write(func(tx *state.Tx) {
		state.Services.Put(tx, "web", core.Service{Format: core.Format, Name: "web", Revision: 1, Active: 1, Revisions: 1})
		state.Revisions.Put(tx, core.RevisionID("web", 1), revision(nil))
		for _, id := range ids {
			inst := instance(id)
			inst.Node = node
			state.Instances.Put(tx, id, inst)
		}
	})
}

func (r *region) status(id string) core.InstanceStatus {
	s, _ := state.InstanceStatuses.Get(r.state.View(), id)
	return s
}

// wantCreated fails unless exactly these nodes have asked for an instance.
func (r *region) wantCreated(id string, nodes ...string) {
	r.t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if fmt.Sprint(r.created[id]) != fmt.Sprint(nodes) {
		r.t.Fatalf("I4: %s was asked for by %v, want %v", id, r.created[id], nodes)
	}
}

func (r *region) running() int {
	listed, err := sdktest.NewNoopCompute(r.backend).List(r.t.Context(), cluster)
	if err != nil {
		r.t.Fatal(err)
	}
	return len(listed)
}

func TestOnlyTheHolderActs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRegion(t, core.ScopeCluster)
		r.deploy("n1", "web-a")
		r.after(time.Second)
		r.wantCreated("web-a") // nobody holds the lease
		r.give(core.DriverCompute, "n1")
		r.after(6 * time.Second)
		r.wantCreated("web-a", "n1")
		if s := r.status("web-a"); s.Phase != core.InstanceRunning || s.Node != "n1" || !s.Healthy {
			t.Fatalf("%+v", s)
		}
		// The lease moves: the instance is adopted, and its end is the new holder's work.
		r.give(core.DriverCompute, "")
		r.give(core.DriverCompute, "n2")
		r.after(time.Minute)
		r.wantCreated("web-a", "n1")
		r.write(func(tx *state.Tx) {
			inst, _ := state.Instances.Get(tx, "web-a")
			inst.Desired = core.DesiredDestroy
			state.Instances.Put(tx, "web-a", inst)
		})
		r.after(time.Second)
		if s := r.status("web-a"); s.Phase != core.InstanceGone || s.Node != "n2" || r.running() != 0 {
			t.Fatalf("%+v, %d run", s, r.running())
		}
	})
}

// A holder that is cut off stops when its answers get too old, whatever its replica says; its successor
// makes nothing twice; and when it is back it follows what has become of things.
func TestHolderThatIsCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRegion(t, core.ScopeCluster)
		r.give(core.DriverCompute, "n1")
		r.deploy("n1", "web-a", "web-b")
		r.after(6 * time.Second)
		n1 := r.nodes["n1"]
		n1.cut.cut(true)
		n1.silence(true)
		r.after(9 * time.Second)
		r.after(7 * time.Second) // the leader's fence
		r.give(core.DriverCompute, "n2")
		r.deploy("n2", "web-c")
		r.write(func(tx *state.Tx) {
			inst, _ := state.Instances.Get(tx, "web-b")
			inst.Desired = core.DesiredDestroy
			state.Instances.Put(tx, "web-b", inst)
		})
		r.after(10 * time.Second)
		if s := r.status("web-b"); s.Phase != core.InstanceGone || r.running() != 2 {
			t.Fatalf("web-b: %+v, %d run", s, r.running())
		}
		n1.cut.cut(false)
		n1.silence(false)
		r.after(time.Minute)
		for id, by := range map[string]string{"web-a": "n1", "web-b": "n1", "web-c": "n2"} {
			r.wantCreated(id, by)
		}
		if s := r.status("web-a"); s.Phase != core.InstanceRunning || !s.Healthy || r.running() != 2 {
			t.Fatalf("web-a: %+v, %d run", s, r.running())
		}
	})
}

func TestSharedRoutesAreTheHolders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRegion(t, core.ScopeCluster)
		put := func(generation uint64) {
			r.write(func(tx *state.Tx) {
				state.Routes.Put(tx, "shop", core.Route{
					Format: core.Format, Name: "shop", Service: "web", Generation: generation,
					Spec:  core.RouteSpec{Name: "shop", Driver: "noop", Listen: ":80", Protocol: core.ProtocolHTTP, Port: "http"},
					Pools: []core.Pool{{Revision: 1, Weight: 100, Endpoints: []core.Endpoint{{Instance: "web-a", Address: "127.0.0.1:1"}}}},
				})
			})
			r.after(time.Second)
		}
		applies := func(node string) int { a, _ := r.nodes[node].traffic.calls(); return a }
		r.deploy("n1")
		put(5)
		if applies("n1")+applies("n2") != 0 {
			t.Fatal("somebody applies a route without the lease")
		}
		r.give(core.DriverTraffic, "n1")
		r.after(time.Second)
		if applies("n1") != 1 || applies("n2") != 0 {
			t.Fatalf("n1 %d, n2 %d", applies("n1"), applies("n2"))
		}
		r.give(core.DriverTraffic, "")
		put(6)
		r.give(core.DriverTraffic, "n2")
		r.after(time.Second)
		s, _ := state.RouteStatuses.Get(r.state.View(), core.RouteStatusID("shop", "n2", "local"))
		if applies("n1") != 1 || applies("n2") != 1 || s.Generation != 6 {
			t.Fatalf("n1 %d, n2 %d, %+v", applies("n1"), applies("n2"), s)
		}
		seen, err := r.nodes["n2"].traffic.Observe(t.Context(), "shop")
		if err != nil || !seen.Listening || seen.Generation != 6 {
			t.Errorf("the holder that let go has taken the route along: %+v, %v", seen, err)
		}
	})
}

// A node that was away sees old wishes first, as its replica catches up. What has been replaced meanwhile
// is not made.
func TestLateNodeMakesNothingThatWasReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRegion(t, core.ScopeNode)
		n2 := r.nodes["n2"]
		n2.cut.cut(true)
		r.deploy("n2", "web-a", "web-b")
		r.write(func(tx *state.Tx) { state.Instances.Delete(tx, "web-a") }) // its node was removed and joined again, say
		r.after(time.Hour)
		n2.cut.cut(false)
		r.after(time.Minute)
		r.wantCreated("web-a")
		r.wantCreated("web-b", "n2")
	})
}
