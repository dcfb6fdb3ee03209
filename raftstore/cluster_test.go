package raftstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/instarhq/instar/core"
)

// cluster is three stores that speak through memory: the seam for the network, and what only more than
// one node can show.
type cluster struct {
	t          *testing.T
	dirs       []string
	transports []*raft.InmemTransport
	stores     []*Store
}

const (
	clusterSize    = 3
	clusterSegment = 4 << 10 // raft-wal drops whole files only
)

func newCluster(t *testing.T, tune func(*raft.Config)) *cluster {
	t.Helper()
	c := &cluster{t: t, stores: make([]*Store, clusterSize)}
	var voters []raft.Server
	for i := range clusterSize {
		_, transport := raft.NewInmemTransport(raft.ServerAddress(fmt.Sprint("addr", i)))
		c.transports = append(c.transports, transport)
		c.dirs = append(c.dirs, t.TempDir())
		voters = append(voters, raft.Server{ID: raft.ServerID(name(i)), Address: transport.LocalAddr()})
	}
	for i := range clusterSize {
		c.stores[i] = openStore(t, Config{Dir: c.dirs[i], Node: name(i), Cluster: "three", Transport: c.transports[i], Voters: voters, tune: tune, segmentBytes: clusterSegment})
	}
	c.connect(0, 1, 2)
	return c
}

func name(i int) string { return fmt.Sprint("n", i+1) }

func (c *cluster) connect(nodes ...int) {
	for _, i := range nodes {
		for _, j := range nodes {
			if i != j {
				c.transports[i].Connect(c.transports[j].LocalAddr(), c.transports[j])
			}
		}
	}
}

func (c *cluster) cut(node int) {
	for i, transport := range c.transports {
		if i != node {
			transport.Disconnect(c.transports[node].LocalAddr())
			c.transports[node].Disconnect(transport.LocalAddr())
		}
	}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !ok(); {
		if time.Now().After(deadline) {
			t.Fatalf("after 30 s: %s is not so", what)
		}
		<-time.After(2 * time.Millisecond)
	}
}

func (c *cluster) leader(not int) (leader int) {
	c.t.Helper()
	eventually(c.t, "there is a leader", func() bool {
		for i, s := range c.stores {
			if i != not && s != nil && s.IsLeader() {
				leader = i
				return true
			}
		}
		return false
	})
	return leader
}

// write writes to whatever node leads, as a client does: again with the same request id as long as the
// error allows that.
func (c *cluster) write(id string, not int) core.Receipt {
	c.t.Helper()
	var receipt core.Receipt
	eventually(c.t, "the write "+id+" is committed", func() bool {
		var err error
		receipt, err = c.stores[c.leader(not)].Propose(c.t.Context(), writeTxn(id, "x"))
		if err != nil && !core.Retryable(err) {
			c.t.Fatal(err)
		}
		return err == nil
	})
	return receipt
}

func TestClusterAgrees(t *testing.T) {
	c := newCluster(t, nil)
	for i := range 30 {
		c.write(fmt.Sprint(i), -1)
	}
	leader := c.leader(-1)
	head, err := c.stores[leader].Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range c.stores {
		eventually(t, name(i)+" has caught up", func() bool { return s.Seq() == 30 })
		if got, err := s.Head(t.Context()); err != nil || got != head {
			t.Errorf("%s has %+v, the leader %+v", name(i), got, head)
		}
		if err := s.Verify(t.Context()); err != nil {
			t.Error(err)
		}
		if i == leader {
			continue
		}
		_, err := s.Propose(t.Context(), writeTxn("no", "x"))
		if core.CodeOf(err) != core.CodeNotLeader || s.Leader() != name(leader) {
			t.Errorf("a follower of %q answered %v", s.Leader(), err)
		}
		if stats := s.Stats(); stats.State != "follower" || stats.Seq != 30 {
			t.Errorf("stats %+v", stats)
		}
	}
}

// TestLeaderIsCutOff takes the network from the leader while it works.
func TestLeaderIsCutOff(t *testing.T) {
	c := newCluster(t, nil)
	c.write("first", -1)
	old := c.leader(-1)
	s := c.stores[old]
	var runs, ends atomic.Int32
	leading := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		leading <- s.Lead(ctx, func(ctx context.Context) error {
			runs.Add(1)
			<-ctx.Done()
			ends.Add(1)
			return ctx.Err()
		})
	}()
	eventually(t, "the leader's work runs", func() bool { return runs.Load() == 1 })

	c.cut(old)
	// Proposed to a leader that cannot commit: the outcome is unknown, or it has stepped down already.
	short, cancelShort := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancelShort()
	_, err := s.Propose(short, writeTxn("lost?", "x"))
	if code := core.CodeOf(err); code != core.CodeTimeout && code != core.CodeNotLeader {
		t.Errorf("the cut-off leader answered %v", err)
	}
	eventually(t, "the leader's work has ended", func() bool { return ends.Load() == 1 && !s.IsLeader() })
	c.write("second", old)

	c.connect(0, 1, 2)
	want := c.write("lost?", -1) // the same request id: once, whatever happened before
	for i, s := range c.stores {
		eventually(t, name(i)+" has caught up", func() bool { return s.Seq() >= want.Seq })
		if got, err := s.Get(t.Context(), core.KindService, "lost?", 0); err != nil || got.Seq != want.Seq {
			t.Errorf("%s: %+v, %v", name(i), got, err)
		}
		if err := s.Verify(t.Context()); err != nil {
			t.Error(err)
		}
	}
	cancel()
	if err := <-leading; !errors.Is(err, context.Canceled) {
		t.Errorf("Lead ended with %v", err)
	}
}

// TestFollowerBehindTheLog starts a node again after the others have cut their logs: it gets the state
// file instead, verifies it and goes on.
func TestFollowerBehindTheLog(t *testing.T) {
	c := newCluster(t, smallLogs)
	c.write("first", -1)
	down := (c.leader(-1) + 1) % clusterSize
	c.cut(down)
	if err := c.stores[down].Close(); err != nil {
		t.Fatal(err)
	}
	c.stores[down] = nil
	var last core.Receipt
	for i := range 60 {
		last = c.write(fmt.Sprint(i), -1)
	}
	eventually(t, "the leader has cut its log", func() bool { return c.stores[c.leader(-1)].Stats().LogFirst > 20 })

	_, c.transports[down] = raft.NewInmemTransport(c.transports[down].LocalAddr())
	s := openStore(t, Config{Dir: c.dirs[down], Node: name(down), Transport: c.transports[down], tune: smallLogs, segmentBytes: clusterSegment})
	c.stores[down] = s
	c.connect(0, 1, 2)
	eventually(t, "the node has caught up", func() bool { return s.Seq() >= last.Seq })
	if position := s.machine.Position(); position.Installed == 0 {
		t.Fatalf("the node caught up without a snapshot: %+v", position)
	}
	if err := s.Verify(t.Context()); err != nil {
		t.Fatal(err)
	}
	after := c.write("after", -1)
	eventually(t, "the node follows", func() bool { return s.Seq() >= after.Seq })
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	_, c.transports[down] = raft.NewInmemTransport(c.transports[down].LocalAddr())
	s = openStore(t, Config{Dir: c.dirs[down], Node: name(down), Transport: c.transports[down], tune: smallLogs, segmentBytes: clusterSegment})
	if s.Seq() < after.Seq {
		t.Fatalf("after its restart the node is at %d, it was at %d", s.Seq(), after.Seq)
	}
}

// TestClusterRestore restores a snapshot on the leader; the others get it as well.
func TestClusterRestore(t *testing.T) {
	c := newCluster(t, nil)
	c.write("first", -1)
	snapshot, _ := takeSnapshot(t, c.stores[c.leader(-1)])
	c.write("second", -1)
	leader := c.stores[c.leader(-1)]
	receipt, err := leader.Restore(t.Context(), bytes.NewReader(snapshot), operator)
	if err != nil {
		t.Fatal(err)
	}
	after := c.write("third", -1)
	if after.Origin != receipt.Origin || after.Seq != receipt.Seq+1 {
		t.Fatalf("after the restore %+v, the write got %+v", receipt, after)
	}
	for i, s := range c.stores {
		eventually(t, name(i)+" has caught up", func() bool { return s.Origin() == receipt.Origin && s.Seq() == after.Seq })
		if _, err := s.Get(t.Context(), core.KindService, "second", 0); !core.IsNotFound(err) {
			t.Errorf("%s still has what the restore took back: %v", name(i), err)
		}
		if err := s.Verify(t.Context()); err != nil {
			t.Error(err)
		}
	}
	for i, s := range c.stores {
		if s != leader {
			if _, err := s.Restore(t.Context(), bytes.NewReader(snapshot), operator); core.CodeOf(err) != core.CodeNotLeader {
				t.Errorf("%s, a follower, answered %v", name(i), err)
			}
		}
	}
}
