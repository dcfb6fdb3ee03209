package raftstore

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/audit"
)

// faultsLength is how long each cluster is broken for; INSTAR_FAULTS makes it longer, INSTAR_SEED repeats
// a schedule.
const faultsLength = 7 * time.Second

func TestFaults(t *testing.T) {
	length, seed := faultsLength, rand.Uint64()
	if text := os.Getenv("INSTAR_FAULTS"); text != "" {
		var err error
		if length, err = time.ParseDuration(text); err != nil {
			t.Fatal(err)
		}
	}
	if text := os.Getenv("INSTAR_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	for _, size := range []int{3, 5} {
		t.Run(fmt.Sprint(size, " nodes"), func(t *testing.T) {
			t.Parallel()
			t.Logf("INSTAR_SEED=%d", seed)
			runFaults(t, size, seed, length)
		})
	}
}

func runFaults(t *testing.T, size int, seed uint64, length time.Duration) {
	c := newNodes(t, size, comparesOften)
	var mu sync.RWMutex // held for writing while a node is away
	pick := func(n int) *node {
		mu.RLock()
		defer mu.RUnlock()
		if n, ok := c.running[c.names[n%size]]; ok {
			return n
		}
		for _, n := range c.running {
			return n
		}
		return nil
	}
	h := &history{began: time.Now()}
	ctx, cancel := context.WithTimeout(t.Context(), length)
	defer cancel()
	var clients sync.WaitGroup
	for id := range 5 {
		clients.Go(func() { h.client(ctx, id, rand.New(rand.NewPCG(seed, uint64(id))), pick) })
	}
	n := &nemesis{nodes: c, mu: &mu, random: rand.New(rand.NewPCG(seed, 1<<32))}
	n.run(ctx)
	clients.Wait()
	for name, n := range c.running {
		select {
		case err := <-n.Failed():
			t.Errorf("%s has stopped: %v", name, err)
		default:
		}
	}
	h.judge(t, c)
}

// nemesis breaks a cluster in one way after the other.
type nemesis struct {
	*nodes
	mu     *sync.RWMutex
	random *rand.Rand
}

func (n *nemesis) run(ctx context.Context) {
	faults := []func(context.Context){n.leaderAlone, n.oneWay, n.split, n.bridge, n.flapping, n.delays, n.restart, n.handOver}
	order := n.random.Perm(len(faults))
	for i := 0; ctx.Err() == nil; i++ {
		faults[order[i%len(order)]](ctx)
		n.network.heal()
		n.wait(ctx, 300)
	}
}

func (n *nemesis) wait(ctx context.Context, milliseconds int) {
	timer := time.NewTimer(time.Duration(milliseconds/2+n.random.IntN(milliseconds)) * time.Millisecond)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// theLeader is the leader if there is one, else any node.
func (n *nemesis) theLeader() string {
	for name, node := range n.running {
		if node.IsLeader() {
			return name
		}
	}
	return n.names[0]
}

func (n *nemesis) leaderAlone(ctx context.Context) {
	n.isolate(n.theLeader())
	n.wait(ctx, 1200)
}

// oneWay lets a node hear the leader and not answer, or the other way round.
func (n *nemesis) oneWay(ctx context.Context) {
	leader := n.theLeader()
	for _, other := range n.names {
		if other == leader {
			continue
		}
		if n.random.IntN(2) == 0 {
			n.network.cut(leader, other)
		} else {
			n.network.cut(other, leader)
		}
	}
	n.wait(ctx, 1000)
}

// split makes two groups, of which one may have a majority.
func (n *nemesis) split(ctx context.Context) {
	names := slices.Clone(n.names)
	n.random.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	cut := 1 + n.random.IntN(len(names)-1)
	n.separate(names[:cut], names[cut:])
	n.wait(ctx, 1000)
}

// bridge makes two groups that only one node sees both of.
func (n *nemesis) bridge(ctx context.Context) {
	names := slices.Clone(n.names)
	n.random.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	middle := len(names) / 2
	n.separate(names[:middle], names[middle+1:])
	n.wait(ctx, 1000)
}

func (n *nemesis) separate(a, b []string) {
	for _, one := range a {
		for _, other := range b {
			n.network.cut(one, other)
			n.network.cut(other, one)
		}
	}
}

func (n *nemesis) flapping(ctx context.Context) {
	for range 6 {
		n.isolate(n.theLeader())
		n.wait(ctx, 150)
		n.network.heal()
		n.wait(ctx, 150)
	}
}

func (n *nemesis) delays(ctx context.Context) {
	slow := n.names[n.random.IntN(len(n.names))]
	for _, other := range n.names {
		n.network.slow(slow, other, time.Duration(n.random.IntN(120))*time.Millisecond)
		n.network.slow(other, slow, time.Duration(n.random.IntN(120))*time.Millisecond)
	}
	n.wait(ctx, 1000)
}

// restart ends a node in order and starts it again.
func (n *nemesis) restart(ctx context.Context) {
	name := n.names[n.random.IntN(len(n.names))]
	if n.random.IntN(2) == 0 {
		name = n.theLeader()
	}
	n.mu.Lock()
	node := n.running[name]
	delete(n.running, name)
	n.mu.Unlock()
	n.end(name, node)
	n.wait(ctx, 300)
	layer, listener := n.network.listen(n.t, name, false)
	node = n.make(name, layer, listener, Config{Join: true})
	n.mu.Lock()
	n.running[name] = node
	n.mu.Unlock()
}

func (n *nemesis) handOver(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	if err := n.running[n.theLeader()].TransferLeadership(ctx, ""); err != nil && !core.Retryable(err) {
		n.t.Errorf("hand over: %v", err)
	}
}

func proveInclusion(t *testing.T, s *Store, head core.TreeHead, writes []acked) {
	t.Helper()
	for _, a := range writes {
		path, err := s.InclusionProof(t.Context(), a.receipt.Seq, head.Size)
		if err == nil {
			err = audit.VerifyInclusion(head, a.receipt.Seq, a.receipt.LeafHash, path)
		}
		if err != nil {
			t.Fatalf("acknowledged write %s, record %d: %v", a.id, a.receipt.Seq, err)
		}
	}
}
