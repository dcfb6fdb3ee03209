package e2e

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/api/client"
)

// A cluster goes back to a snapshot while it runs, is lost and comes back, and is lost again and comes back
// by itself: what runs is adopted every time, and no request through any node fails.
func TestClusterComesBackFromASnapshot(t *testing.T) {
	t.Parallel() // it waits most of the time
	tr := newTrio(t)
	before := tr.settled(t, 0, 3)
	if nodes := slices.Sorted(maps.Values(before)); !slices.Equal(nodes, tr.Names) {
		t.Fatalf("the instances are on %v", nodes)
	}
	file := filepath.Join(tr.dir, "one.instar")
	tr.must(t, 0, "snapshot", "save", file)
	shoppers := startCustomers(tr.addresses)
	t.Run("in place", func(t *testing.T) { tr.restoreInPlace(t, file, before) })
	t.Run("lost", func(t *testing.T) { tr.restoreLost(t, file, before) })
	t.Run("lost, rebuilt", func(t *testing.T) { tr.rebuildLost(t, file, before) })
	shoppers.leave(t)
	tr.onceEach(t)
	tr.oneRoot(t)
	if out := tr.must(t, 2, "audit", "verify"); !strings.Contains(out, "VERIFIED") {
		t.Errorf("audit verify says:\n%s", out)
	}
}

// found waits until every target has said what it has, and wants all of it to be adopted, on all nodes.
func (tr *trio) found(t *testing.T, before map[string]string) {
	t.Helper()
	var view core.RecoveryView
	tr.await(t, "every target to say what it has", func() bool {
		var ok bool
		view, ok = tr.recovery(2)
		return ok && len(view.Silent) == 0 && view.Classes[core.ClassAdopt] == len(before)
	})
	for _, f := range view.Findings {
		if f.Class != core.ClassAdopt || before[f.Instance] != f.Node {
			t.Errorf("found %+v", f)
		}
	}
	if now := tr.births.alive(); !sameKeys(now, before) {
		t.Errorf("before the approval %v runs, before the restore it was %v", now, before)
	}
}

// kept wants the same instances to serve as before.
func (tr *trio) kept(t *testing.T, before map[string]string) {
	t.Helper()
	tr.over(t)
	if now := tr.settled(t, 1, len(before)); !maps.Equal(now, before) {
		t.Errorf("instances %v, before it were %v", now, before)
	}
}

func (tr *trio) restoreInPlace(t *testing.T, file string, before map[string]string) {
	leader, err := tr.Leader(tr.ctx)
	if err != nil {
		t.Fatal(err)
	}
	tr.must(t, leader, "snapshot", "restore", "-yes", file)
	tr.found(t, before)
	tr.must(t, (leader+1)%3, "recovery", "approve", "-yes")
	tr.kept(t, before)
	if err := tr.AwaitVoters(tr.ctx, 3); err != nil {
		t.Fatal(err)
	}
}

// lose kills every daemon and takes away all that they knew: what is left are drivers and instances.
func (tr *trio) lose(t *testing.T) {
	t.Helper()
	for _, n := range tr.Nodes {
		if err := n.Kill(); err != nil {
			t.Fatal(err)
		}
	}
	for i, n := range tr.Nodes {
		for _, lost := range []string{"store", "identity", "cluster.json"} {
			if err := os.RemoveAll(filepath.Join(n.DataDir(), lost)); err != nil {
				t.Fatal(err)
			}
		}
		if err := n.StartAgain(tr.ctx); err != nil {
			t.Fatalf("%s: %v", tr.Names[i], err)
		}
	}
}

// rejoin makes the others members of what the first has brought back.
func (tr *trio) rejoin(t *testing.T) {
	t.Helper()
	for i, n := range tr.Nodes[1:] {
		token, err := tr.Nodes[0].API.CreateJoinToken(tr.ctx, client.Write{}, core.JoinTokenRequest{Role: core.RoleVoter, Node: tr.Names[i+1]})
		if err != nil {
			t.Fatal(err)
		}
		if err := n.Join(tr.ctx, token.Text); err != nil {
			t.Fatalf("%s: %v", tr.Names[i+1], err)
		}
	}
	if err := tr.AwaitVoters(tr.ctx, 3); err != nil {
		t.Fatal(err)
	}
}

func (tr *trio) restoreLost(t *testing.T, file string, before map[string]string) {
	tr.lose(t)
	tr.must(t, 0, "snapshot", "restore", "-yes", file)
	if err := tr.Nodes[0].AwaitReady(tr.ctx); err != nil {
		t.Fatal(err)
	}
	hasty, cancel := context.WithTimeout(tr.ctx, 3*time.Second) // the client would try for longer
	defer cancel()
	if _, err := tr.Nodes[0].API.ApproveRecovery(hasty, client.Write{}, core.ApproveRequest{}); err == nil {
		t.Error("approved before n2 and n3 have said what they have")
	}
	tr.rejoin(t)
	tr.found(t, before)
	tr.must(t, 1, "recovery", "approve", "-yes")
	tr.kept(t, before)
}

func (tr *trio) rebuildLost(t *testing.T, file string, before map[string]string) {
	tr.lose(t)
	tr.must(t, 0, "snapshot", "restore", "-yes", "-rebuild", file)
	tr.await(t, "n1 to be all that is known of", func() bool {
		view, ok := tr.recovery(0)
		return ok && view.Classes[core.ClassAdopt] == 1 && len(view.Silent) == 2
	})
	tr.rejoin(t)
	tr.kept(t, before)
}
