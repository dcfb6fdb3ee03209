package raftstore

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/instarhq/instar/core"
)

// TestForwarding writes and reads through every node.
func TestForwarding(t *testing.T) {
	c := newNodes(t, 3, nil)
	c.write(c.leader(), "first")
	var all sync.WaitGroup
	for _, n := range c.running {
		for w := range 4 {
			all.Go(func() {
				for i := range 25 {
					id := fmt.Sprintf("%s-%d-%d", n.Node(), w, i)
					receipt, err := n.Propose(t.Context(), writeTxn(id, "x"))
					if err != nil {
						t.Error(err)
						return
					}
					if got, err := n.Get(t.Context(), core.KindService, id, 0); err != nil || got.Seq != receipt.Seq {
						t.Errorf("%s does not have its own write %s: %+v, %v", n.Node(), id, got, err)
					}
				}
			})
		}
	}
	all.Wait()
	if head := c.agree(); head.Size != 301 {
		t.Errorf("%d records", head.Size)
	}
	follower := c.follower()
	_, err := follower.Propose(t.Context(), core.Txn{
		Meta: core.Meta{Principal: "p", Verb: "v"},
		Ops:  []core.Op{{Kind: core.KindService, ID: "first", Value: []byte(`"y"`)}},
	})
	e, ok := core.AsError(err)
	if !ok || e.Code != core.CodeConflict || e.Object != "service/first" {
		t.Errorf("a conflict came back as %v", err)
	}
	again, err := follower.Propose(t.Context(), writeTxn("first", "x"))
	if err != nil || !again.Replayed || again.Seq != 1 {
		t.Errorf("a repeated request: %+v, %v", again, err)
	}
}

// TestReadIndex reads on a follower what was just written elsewhere.
func TestReadIndex(t *testing.T) {
	c := newNodes(t, 3, nil)
	leader := c.leader()
	follower := c.follower()
	for i := range 20 {
		receipt := c.write(leader, fmt.Sprint(i))
		seq, err := follower.ReadIndex(t.Context())
		if err != nil || seq < receipt.Seq {
			t.Fatalf("read index %d, %v; record %d was committed before", seq, err, receipt.Seq)
		}
		if err := follower.WaitApplied(t.Context(), seq); err != nil {
			t.Fatal(err)
		}
		if _, err := follower.Get(t.Context(), core.KindService, fmt.Sprint(i), 0); err != nil {
			t.Fatal(err)
		}
	}
	// Cut off, no node may claim to know what is committed.
	c.isolate(leader.Node())
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if seq, err := leader.ReadIndex(ctx); err == nil {
		t.Errorf("a leader that is cut off gave the read index %d", seq)
	}
}

// TestMembership adds, promotes, moves, demotes and removes nodes, and hands leadership over.
func TestMembership(t *testing.T) {
	c := newNodes(t, 1, nil)
	first := c.leader()
	c.write(first, "before")
	for _, name := range []string{"n2", "n3"} {
		n := c.start(name, false)
		address := c.network.raft[name]
		if err := first.AddNonvoter(t.Context(), name, address); err != nil {
			t.Fatal(err)
		}
		if err := first.AddNonvoter(t.Context(), name, address); err != nil {
			t.Errorf("again: %v", err)
		}
		eventually(t, name+" has caught up", func() bool { return n.Seq() >= first.Seq() })
		if err := first.Promote(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	members, err := first.Members(t.Context())
	if err != nil || len(members) != 3 {
		t.Fatalf("%+v, %v", members, err)
	}
	for _, m := range members {
		if !m.Voter || m.Progress == nil || m.Error != "" || m.Leader != (m.Name == "n1") {
			t.Errorf("%+v", m)
		}
	}
	if err := first.Remove(t.Context(), "n1"); !core.IsConflict(err) {
		t.Errorf("the leader removed itself: %v", err)
	}

	if err := first.TransferLeadership(t.Context(), "n2"); err != nil {
		t.Fatal(err)
	}
	second := c.leader("n1")
	if second.Node() != "n2" {
		t.Fatalf("%s leads", second.Node())
	}
	c.write(first, "after the transfer")
	c.isolate("n3")
	if err := second.TransferLeadership(t.Context(), "n3"); core.CodeOf(err) != core.CodeUnavailable {
		t.Errorf("leadership to a node that is away: %v", err)
	}
	c.network.heal()
	c.write(second, "still led")

	c.stop("n3")
	moved := c.start("n3", true)
	if err := c.leader("n3").SetAddress(t.Context(), "n3", c.network.raft["n3"]); err != nil {
		t.Fatal(err)
	}
	last := c.write(c.leader("n3"), "moved")
	eventually(t, "the moved node follows", func() bool { return moved.Seq() >= last.Seq })

	leader := c.leader()
	gone := c.follower()
	if err := leader.Demote(t.Context(), gone.Node()); err != nil {
		t.Fatal(err)
	}
	if err := leader.Remove(t.Context(), gone.Node()); err != nil {
		t.Fatal(err)
	}
	c.stop(gone.Node())
	c.write(leader, "two are left")
	if err := leader.Demote(t.Context(), "n9"); !core.IsNotFound(err) {
		t.Errorf("a stranger was demoted: %v", err)
	}
	c.agree()
}
