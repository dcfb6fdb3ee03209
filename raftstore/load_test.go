package raftstore

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/instarhq/instar/core"
)

// TestFreshNodeGetsTheStateUnderLoad adds a node to a cluster that has dropped most of its log, over a slow
// connection, while others write: the state file is sent, and nobody waits for it.
func TestFreshNodeGetsTheStateUnderLoad(t *testing.T) {
	c := newNodes(t, 1, func(config *Config) {
		config.segmentBytes = 64 << 10
		config.tune = func(rc *raft.Config) {
			rc.SnapshotInterval, rc.SnapshotThreshold, rc.TrailingLogs = 20*time.Millisecond, 50, 50
		}
	})
	leader := c.leader()
	value := strings.Repeat("x", 10_000)
	for i := range 400 {
		if _, err := leader.Propose(t.Context(), writeTxn(fmt.Sprint("before-", i), value)); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the leader has cut its log", func() bool { return leader.Stats().LogFirst > 100 })
	fresh := c.start("n2", false)
	c.network.slow("n1", "n2", 50*time.Millisecond) // at each write of the transfer
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var latencies []time.Duration
	var writer sync.WaitGroup
	writer.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			began := time.Now()
			if _, err := leader.Propose(t.Context(), writeTxn(fmt.Sprint("meanwhile-", i), "x")); err != nil {
				t.Error(err)
				return
			}
			latencies = append(latencies, time.Since(began))
		}
	})
	began := time.Now()
	if err := leader.AddNonvoter(t.Context(), "n2", c.network.raft["n2"]); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the fresh node has the state", func() bool { return fresh.machine.Position().Installed > 0 })
	took := time.Since(began)
	cancel()
	writer.Wait()
	c.network.heal()
	slices.Sort(latencies)
	if len(latencies) == 0 {
		t.Fatal("nothing was written meanwhile")
	}
	slowest := latencies[len(latencies)-1]
	t.Logf("the transfer took %s; %d writes meanwhile, the slowest %s", took, len(latencies), slowest)
	if slowest > took*3/4 {
		t.Errorf("a write waited for %s of the transfer's %s", slowest, took)
	}
	if err := leader.Promote(t.Context(), "n2"); err != nil {
		t.Fatal(err)
	}
	c.write(fresh, "goes on")
	c.agree()
}

// TestTooManyWritesAreRefused: a burst through a follower that is far over what may wait is answered at
// once, in part with a refusal that says when to come again, and nothing is lost or kept waiting.
func TestTooManyWritesAreRefused(t *testing.T) {
	c := newNodes(t, 3, nil)
	follower := c.follower()
	const writers = 6000 // over forward's bound
	var done, refused, unknown atomic.Int32
	var unexpected atomic.Pointer[error]
	var all sync.WaitGroup
	for i := range writers {
		all.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			_, err := follower.Propose(ctx, writeTxn(fmt.Sprint(i), "x"))
			e, _ := core.AsError(err)
			switch {
			case err == nil:
				done.Add(1)
			case e != nil && e.Code == core.CodeUnavailable && e.RetryAfter > 0:
				refused.Add(1)
			case e != nil && e.Code == core.CodeNotLeader: // a machine too busy to have a leader for long
				refused.Add(1)
			case e != nil && e.Code == core.CodeTimeout: // the leader has changed
				unknown.Add(1)
			default:
				unexpected.Store(&err)
			}
		})
	}
	all.Wait()
	t.Logf("%d done, %d refused, %d unknown", done.Load(), refused.Load(), unknown.Load())
	if err := unexpected.Load(); err != nil {
		t.Errorf("a write got %v", *err)
	}
	c.write(follower, "after the burst")
	least := uint64(done.Load()) + 1                                                      //nolint:gosec // counts
	if head := c.agree(); head.Size < least || head.Size > least+uint64(unknown.Load()) { //nolint:gosec // counts
		t.Errorf("%d records after %d writes, and %d whose outcome is not known", head.Size, least, unknown.Load())
	}
}

// TestDeadlineOfAForward: a caller that has a deadline gets an answer by then, whatever the leader does.
func TestDeadlineOfAForward(t *testing.T) {
	c := newNodes(t, 3, nil)
	follower := c.follower()
	c.write(follower, "first")
	c.network.cut(c.leader().Node(), follower.Node()) // requests arrive, answers do not
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	began := time.Now()
	_, err := follower.Propose(ctx, writeTxn("second", "x"))
	if code := core.CodeOf(err); code != core.CodeTimeout && code != core.CodeNotLeader && code != core.CodeUnavailable {
		t.Errorf("%v", err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("the answer came after %s", took)
	}
	c.network.heal()
	c.write(follower, "second")
	if head := c.agree(); head.Size != 2 {
		t.Errorf("%d records", head.Size)
	}
}
