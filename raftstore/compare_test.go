package raftstore

import (
	"strings"
	"testing"
	"time"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/audit"
	"github.com/instarhq/instar/raftstore/fsm"
)

func comparesOften(c *Config) { c.watchEvery = 50 * time.Millisecond }

// diverge makes a node apply another record than the cluster has at that place.
func diverge(t *testing.T, n *node) {
	t.Helper()
	txn := writeTxn("forged", "x")
	txn.Meta.Time = time.Now()
	raw, err := audit.Encode(txn)
	if err != nil {
		t.Fatal(err)
	}
	position := n.machine.Position()
	entry := fsm.Entry{Index: position.RaftIndex + 1, Term: position.RaftTerm, Data: fsm.EncodeGroup([][]byte{raw})}
	if outcomes, err := n.machine.Apply([]fsm.Entry{entry}); err != nil || outcomes[0][0].Err != nil {
		t.Fatal(outcomes, err)
	}
}

func stopsAsDiverged(t *testing.T, n *node) {
	t.Helper()
	select {
	case err := <-n.Failed():
		if core.CodeOf(err) != core.CodeCorrupt || !strings.Contains(err.Error(), n.Node()) {
			t.Errorf("stopped with %v", err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("a node whose log differs from the others' goes on")
	}
}

// TestDivergedFollowerStops: one of three has another record than the others.
func TestDivergedFollowerStops(t *testing.T) {
	c := newNodes(t, 3, comparesOften)
	c.write(c.leader(), "first")
	bad := c.follower()
	eventually(t, "it has caught up", func() bool { return bad.Seq() == 1 })
	diverge(t, bad)
	c.write(c.leader(bad.Node()), "second")
	stopsAsDiverged(t, bad)
	delete(c.running, bad.Node())
	for range 5 { // long enough for the others to have compared
		c.write(c.leader(), "others go on "+time.Now().String())
	}
	c.agree()
	for _, n := range c.running {
		if n.stopping.Err() != nil {
			t.Errorf("%s has stopped as well", n.Node())
		}
	}
	_ = bad.listener.Close()
	if err := bad.Close(); err != nil {
		t.Error(err)
	}
}

// TestDivergedLeaderStops: the two others agree, so it is the leader that is wrong.
func TestDivergedLeaderStops(t *testing.T) {
	c := newNodes(t, 3, comparesOften)
	c.write(c.leader(), "first")
	bad := c.leader()
	for _, n := range c.running {
		eventually(t, "all have caught up", func() bool { return n.Seq() == 1 })
	}
	diverge(t, bad)
	c.write(bad, "second") // which this leader skips, and the others do not
	stopsAsDiverged(t, bad)
	delete(c.running, bad.Node())
	c.write(c.leader(), "others go on")
	c.agree()
	for _, n := range c.running {
		if n.stopping.Err() != nil {
			t.Errorf("%s has stopped as well", n.Node())
		}
	}
	_ = bad.listener.Close()
	if err := bad.Close(); err != nil {
		t.Error(err)
	}
}
