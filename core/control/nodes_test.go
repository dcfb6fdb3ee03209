package control_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/control"
	"github.com/instarhq/instar/core/coretest"
	"github.com/instarhq/instar/core/heartbeat"
	"github.com/instarhq/instar/core/state"
)

// beats is what a leader hears, as a test has it.
type beats struct {
	mu     sync.Mutex
	silent map[string]time.Time // since when
	back   map[string]time.Time
	last   map[string]heartbeat.Beat
	never  map[string]bool // not heard since the election
	asleep bool
}

func newBeats() *beats {
	return &beats{silent: map[string]time.Time{}, back: map[string]time.Time{}, last: map[string]heartbeat.Beat{}, never: map[string]bool{}}
}

func (b *beats) Lead(ctx context.Context) { <-ctx.Done() }
func (b *beats) Changed() <-chan struct{} { return nil }

func (b *beats) Look(node string) (heartbeat.Sight, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := heartbeat.Sight{Heard: !b.never[node], Beat: heartbeat.Beat{Node: node, Seq: 1 << 62, Settled: true}}
	if beat, ok := b.last[node]; ok {
		s.Beat = beat
	}
	if since, ok := b.silent[node]; ok {
		s.Silent = time.Since(since)
		return s, !b.asleep
	}
	s.Steady = time.Since(b.back[node])
	return s, !b.asleep
}

func (b *beats) set(change func()) { b.mu.Lock(); defer b.mu.Unlock(); change() }

func (b *beats) away(nodes ...string) {
	b.set(func() {
		for _, n := range nodes {
			b.silent[n] = time.Now()
		}
	})
}

func (b *beats) heard(nodes ...string) {
	b.set(func() {
		for _, n := range nodes {
			delete(b.silent, n)
			b.back[n] = time.Now()
		}
	})
}

// cluster is a store with nodes in it, and a controller that watches them.
type cluster struct {
	t     *testing.T
	store *coretest.Store
	state *state.State
	beats *beats
	stop  func() // of the controller
}

// newCluster starts one in a synctest bubble, with nodes that share the target ec2/eu if shared.
func newCluster(t *testing.T, shared bool, nodes ...string) *cluster {
	ctx, cancel := context.WithCancel(t.Context())
	c := &cluster{t: t, store: coretest.NewStore(), beats: newBeats()}
	c.state = state.New(c.store)
	var group sync.WaitGroup
	group.Go(func() { _ = c.state.Run(ctx) })
	t.Cleanup(func() { c.stop(); cancel(); group.Wait() })
	c.write(func(tx *state.Tx) {
		for _, name := range nodes {
			n := core.Node{Format: core.Format, Name: name}
			if shared {
				n.Targets = []core.Target{{Kind: core.DriverCompute, Driver: "ec2", Name: "eu", Scope: core.ScopeCluster, Healthy: true}}
			}
			state.Nodes.Put(tx, name, n)
			state.Members.Put(tx, name, core.Member{Format: core.Format, Name: name, State: core.MemberActive})
		}
	})
	c.lead()
	return c
}

// lead starts another controller in place of the one that runs.
func (c *cluster) lead() {
	if c.stop != nil {
		c.stop()
	}
	ctx, cancel := context.WithCancel(c.t.Context())
	done := make(chan struct{})
	controller := control.New(control.Config{State: c.state, Liveness: c.beats})
	go func() { defer close(done); _ = controller.Run(ctx) }()
	c.stop = func() { cancel(); <-done }
	synctest.Wait()
}

func (c *cluster) write(fn func(tx *state.Tx)) {
	c.t.Helper()
	_, err := c.state.Update(c.t.Context(), core.Meta{Principal: "test", Verb: "test"}, func(tx *state.Tx) error { fn(tx); return nil })
	if err != nil {
		c.t.Fatal(err)
	}
}

func (c *cluster) after(d time.Duration) {
	time.Sleep(d) //nolint:forbidigo // in a bubble, where the clock jumps
	synctest.Wait()
}

// history tells the transactions that wrote a kind of object, "verb id…" each.
func (c *cluster) history(kind core.Kind) []string {
	var out []string
	for seq := uint64(1); seq <= c.store.Seq(); seq++ {
		rec, err := c.store.Record(c.t.Context(), seq)
		if err != nil {
			c.t.Fatal(err)
		}
		var ids []string
		for _, op := range rec.Txn.Ops {
			if op.Kind == kind {
				ids = append(ids, op.ID)
			}
		}
		if len(ids) > 0 {
			slices.Sort(ids)
			out = append(out, rec.Txn.Meta.Verb+" "+strings.Join(ids, " "))
		}
	}
	return out
}

func (c *cluster) want(node string, want core.NodeState) {
	c.t.Helper()
	s, _ := state.NodeStatuses.Get(c.state.View(), node)
	if s.State != want {
		c.t.Fatalf("%s is %q (%s), want %q", node, s.State, s.Reason, want)
	}
}

func TestNodeComesAndGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, false, "n1", "n2", "n3")
		c.after(2 * time.Minute)
		c.want("n2", "")
		c.beats.away("n2")
		c.after(2900 * time.Millisecond)
		c.want("n2", "")
		c.after(500 * time.Millisecond)
		c.want("n2", core.NodeUnreachable)
		c.after(26 * time.Second)
		c.want("n2", core.NodeUnreachable)
		c.after(time.Second)
		c.want("n2", core.NodeDown)
		c.after(2 * time.Minute)
		c.beats.heard("n2")
		c.after(900 * time.Millisecond)
		c.want("n2", core.NodeDown)
		c.after(500 * time.Millisecond)
		c.want("n2", core.NodeReady)
		c.after(2 * time.Minute)
		want := []string{"node.unreachable n2", "node.down n2", "node.ready n2"}
		if got := c.history(core.KindNodeStatus); !slices.Equal(got, want) {
			t.Errorf("%q", got)
		}
	})
}

func TestGraceIsTheClusters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, false, "n1", "n2", "n3")
		c.write(func(tx *state.Tx) {
			state.Clusters.Put(tx, core.ClusterObject, core.Cluster{Format: core.Format, NodeGrace: core.Duration(5 * time.Second)})
		})
		c.beats.away("n3")
		c.after(5500 * time.Millisecond)
		c.want("n3", core.NodeDown)
	})
}

// A node is ready again only when it has seen what was decided without it, and knows what it has.
func TestNodeThatIsBackCatchesUpFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, false, "n1", "n2", "n3")
		c.beats.away("n2")
		c.after(time.Minute)
		seq := state.NodeStatuses.Seq(c.state.View(), "n2")
		c.beats.heard("n2")
		for _, beat := range []heartbeat.Beat{{Seq: seq - 1, Settled: true}, {Seq: seq}} {
			c.beats.set(func() { c.beats.last["n2"] = beat })
			c.after(5 * time.Second)
			c.want("n2", core.NodeDown)
		}
		c.after(15 * time.Second) // drivers may be broken: it is not waited for them for ever
		c.want("n2", core.NodeReady)
		c.beats.away("n2")
		c.after(4 * time.Second)
		c.beats.heard("n2")
		c.beats.set(func() { delete(c.beats.last, "n2") })
		c.after(2 * time.Second)
		c.want("n2", core.NodeReady)
	})
}

func TestSeveralNodesAreOneTransaction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, false, "n1", "n2", "n3", "n4", "n5", "n6")
		c.beats.away("n5", "n6")
		c.after(4 * time.Second)
		if got := c.history(core.KindNodeStatus); !slices.Equal(got, []string{"node.unreachable n5 n6"}) {
			t.Errorf("%q", got)
		}
	})
}

// A leader that hears nothing of most nodes suspects itself, and takes three times as long.
func TestStorm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, false, "n1", "n2", "n3", "n4", "n5")
		c.beats.away("n3", "n4", "n5")
		c.after(8 * time.Second)
		c.want("n3", "")
		c.after(2 * time.Second)
		c.want("n3", core.NodeUnreachable)
		c.after(70 * time.Second)
		c.want("n3", core.NodeUnreachable)
		c.beats.heard("n5") // two of five: no storm any more
		c.after(time.Second)
		c.want("n3", core.NodeDown)
		c.after(time.Second)
		c.want("n5", core.NodeReady)
	})
}

func TestNewLeaderGivesTimeToFindIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, false, "n1", "n2", "n3")
		c.beats.set(func() { c.beats.never["n2"] = true })
		c.beats.away("n2")
		c.after(5 * time.Second)
		c.want("n2", "")
		c.after(2 * time.Second)
		c.want("n2", core.NodeUnreachable)
	})
}

func TestSleepyLeaderJudgesNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, false, "n1", "n2", "n3")
		c.beats.away("n2")
		c.beats.set(func() { c.beats.asleep = true })
		c.after(time.Minute)
		c.want("n2", "")
	})
}

func TestRemovedNodeIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, false, "n1", "n2", "n3")
		c.beats.away("n2")
		c.after(time.Minute)
		c.write(func(tx *state.Tx) {
			m, _ := state.Members.Get(tx, "n2")
			m.State = core.MemberRemoved
			state.Members.Put(tx, "n2", m)
		})
		c.after(time.Minute)
		v := c.state.View()
		if state.Nodes.Seq(v, "n2") != 0 || state.NodeStatuses.Seq(v, "n2") != 0 {
			t.Error("what n2 was is still there")
		}
		if got := c.history(core.KindNodeStatus); len(got) != 3 { // unreachable, down, deleted
			t.Errorf("%q", got)
		}
	})
}

// lease is the lease of ec2/eu.
func (c *cluster) lease() core.Lease {
	l, _ := state.Leases.Get(c.state.View(), core.LeaseID(core.DriverCompute, "ec2", "eu"))
	return l
}

// wantHolder fails unless node has the lease under an epoch.
func (c *cluster) wantHolder(node string, epoch uint64) {
	c.t.Helper()
	if l := c.lease(); l.Node != node || l.Epoch != epoch {
		c.t.Fatalf("the lease is %+v, want %q under epoch %d", l, node, epoch)
	}
}

func (c *cluster) instances(holder string, n int) {
	c.write(func(tx *state.Tx) {
		for i := range n {
			id := fmt.Sprintf("web-%05d", i)
			state.Instances.Put(tx, id, core.Instance{Format: core.Format, ID: id, Service: "web", Node: holder, Driver: "ec2", Target: "eu", Desired: core.DesiredRun})
		}
	})
}

func (c *cluster) nodesOf() map[string]int {
	out := map[string]int{}
	for _, inst := range state.Instances.All(c.state.View()) {
		out[inst.Node]++
	}
	return out
}

func TestLeaseMovesWhenItsHolderIsSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, true, "n1", "n2", "n3")
		c.after(time.Second)
		c.wantHolder("n1", 1)
		c.instances("n1", 2500) // more than one transaction moves
		c.after(2 * time.Minute)
		c.wantHolder("n1", 1)
		c.beats.away("n1")
		c.after(14 * time.Second)
		c.wantHolder("n1", 1)
		c.after(2 * time.Second)
		c.wantHolder("n2", 2)
		c.after(2 * time.Second)
		if got := c.nodesOf(); !maps.Equal(got, map[string]int{"n2": 2500}) {
			t.Errorf("%v act", got)
		}
		c.beats.heard("n1")
		c.instances("n1", 1) // placed by what was known before
		c.after(time.Minute)
		c.wantHolder("n2", 2)
		if got := c.nodesOf(); !maps.Equal(got, map[string]int{"n2": 2500}) {
			t.Errorf("%v act in the end", got)
		}
	})
}

// A lease that is taken from a node that lives is given on when that cannot act under it any more, also by
// a leader that does not know when it was taken.
func TestLeaseOfADrainedNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, true, "n1", "n2", "n3")
		c.after(time.Second)
		c.write(func(tx *state.Tx) {
			m, _ := state.Members.Get(tx, "n1")
			m.Drain = &core.Drain{}
			state.Members.Put(tx, "n1", m)
		})
		c.after(time.Second)
		c.wantHolder("", 2)
		c.after(10 * time.Second)
		c.lead()
		c.after(14 * time.Second)
		c.wantHolder("", 2)
		c.after(2 * time.Second)
		c.wantHolder("n2", 3)
	})
}

func TestLeaseStaysWhereNobodyCouldDoBetter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, true, "n1")
		c.after(time.Second)
		c.beats.away("n1")
		c.after(2 * time.Minute)
		c.wantHolder("n1", 1)
	})
}

func TestLeaseLeavesAnUnhealthyTarget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, true, "n1", "n2")
		c.after(time.Second)
		c.write(func(tx *state.Tx) {
			n, _ := state.Nodes.Get(tx, "n1")
			n.Targets = slices.Clone(n.Targets)
			n.Targets[0].Healthy = false
			state.Nodes.Put(tx, "n1", n)
		})
		c.after(14 * time.Second)
		c.wantHolder("n1", 1)
		c.after(20 * time.Second)
		c.wantHolder("n2", 3)
	})
}
