package e2e

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/api/client"
)

// recovery reads what a restore has found; false if there is no recovery under way.
func (c *cluster) recovery() (core.RecoveryView, bool) {
	c.Helper()
	view, err := c.node.API.Recovery(c.Context())
	if core.IsNotFound(err) {
		return view, false
	}
	if err != nil {
		c.Fatal(err)
	}
	return view, true
}

// restore begins anew from a snapshot, with what is left of the data directory.
func (c *cluster) restore(file string, args ...string) {
	c.Helper()
	command := append([]string{"restore", "-data-dir", filepath.Join(c.dir, "d")}, append(args, file)...)
	if out, err := exec.Command(filepath.Join(built.bin, "instard"), command...).CombinedOutput(); err != nil {
		c.Fatalf("instard %s: %v\n%s", strings.Join(command, " "), err, out)
	}
	if err := c.node.Start(c.Context()); err != nil {
		c.Fatal(err)
	}
}

// saved reads what a snapshot says of itself.
func (c *cluster) saved(file string, args ...string) core.Manifest {
	c.Helper()
	var saved core.SnapshotSaved
	out := c.must(append([]string{"snapshot", "save", file, "-o", "json"}, args...)...)
	if err := json.Unmarshal([]byte(out), &saved); err != nil {
		c.Fatalf("%v\n%s", err, out)
	}
	return saved.Manifest
}

// A store that is lost in the middle of a rollout under load comes back from a snapshot: what runs is
// adopted, what is newer is left alone until it is said otherwise, the rollout goes on, and no customer
// notices.
func TestRestoreInTheMiddleOfARollout(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.deploy("version=1")
	customers := c.customers(0.2)
	c.must(append(c.shop("version=2", "bake=30s"), "-detach")...)
	c.await("the bake of revision 2", func() bool { return c.rollout().Phase == core.RolloutBaking })
	file := filepath.Join(c.dir, "baking.instar")
	manifest := c.saved(file)

	// What happens now is lost: revision 2 goes, and revision 1 gets an instance more.
	baking := c.rollout()
	c.must("rollout", "abort", baking.ID())
	c.await("the way back", func() bool { return c.rollout().Phase == core.RolloutRolledBack })
	c.must("service", "scale", "shop", "3")
	c.await("a third instance", func() bool { return len(c.serving()) == 3 })
	c.await("the end of revision 2", func() bool { return len(c.births.alive()) == 3 })
	before := c.births.alive()
	if err := c.node.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(c.dir, "d", "store")); err != nil {
		t.Fatal(err)
	}
	c.restore(file)

	c.await("every target to say what it has", func() bool {
		view, ok := c.recovery()
		return ok && len(view.Silent) == 0 && len(view.Findings) > 0
	})
	view, _ := c.recovery()
	if view.Restored == nil || view.Restored.Previous != manifest.Head {
		t.Errorf("the first record names %+v, the snapshot has %+v", view.Restored, manifest.Head)
	}
	if view.Classes[core.ClassAdopt] == 0 || view.Classes[core.ClassExcess] == 0 || view.Classes[core.ClassMissing] == 0 {
		t.Errorf("found %v, want something to adopt, something in excess, and something missing", view.Classes)
	}
	if code, out := c.instar("service", "scale", "shop", "5"); code == 0 || !strings.Contains(out, "approv") {
		t.Errorf("a verb before the approval: exit code %d\n%s", code, out)
	}
	if now := c.births.alive(); len(now) != len(before) {
		t.Errorf("before the approval %d instances run, before the restore it were %d", len(now), len(before))
	}
	c.must("recovery", "approve", "-yes")
	c.await("the recovery's end", func() bool { _, ok := c.recovery(); return !ok })
	c.await("the rollout's end", func() bool { r := c.rollout(); return r.Phase.Over() || r.Phase == core.RolloutRetiring })
	c.await("the wanted instances", func() bool { return len(c.serving()) == c.service().Service.Count })

	result := customers.Stop()
	for _, line := range result.Failures(10) {
		t.Errorf("I8: failed: %s", line)
	}
	if result.Lost != 0 {
		t.Errorf("I8: %d of %d WebSocket sessions were lost", result.Lost, result.Sessions)
	}
	// The log that was acknowledged before the snapshot is in the restored one, record for record.
	checkpoint, err := c.node.API.Checkpoint(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasSuffix(checkpoint.Head.Origin, "/2") || checkpoint.Head.Size <= manifest.Head.Size {
		t.Errorf("the log goes on as %s with %d records, after %d of %s", checkpoint.Head.Origin, checkpoint.Head.Size, manifest.Head.Size, manifest.Head.Origin)
	}
	c.must("audit", "verify")
}

// A running cluster goes back to a snapshot under its agent, and what the snapshot does not know goes only
// if that is asked for.
func TestRestoreInPlace(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.deploy("version=1")
	file := filepath.Join(c.dir, "one.instar")
	c.saved(file)
	c.deploy("version=2", "keep_previous=0s")
	c.await("revision 1 gone", func() bool { return len(c.instances()) == 2 })
	second := c.serving()
	customers := c.customers(0.2)

	c.must("snapshot", "restore", file, "-yes")
	c.await("what is found", func() bool {
		view, ok := c.recovery()
		return ok && len(view.Silent) == 0 && view.Classes[core.ClassUnknown] == 2
	})
	if _, err := c.node.API.ApproveRecovery(t.Context(), client.Write{}, core.ApproveRequest{DestroyUnknown: true}); err != nil {
		t.Fatal(err)
	}
	c.await("the recovery's end", func() bool { _, ok := c.recovery(); return !ok })
	c.await("revision 1", func() bool { return c.service().Service.Active == 1 && len(c.serving()) == 2 })
	result := customers.Stop()
	for _, line := range result.Failures(10) {
		t.Errorf("I8: failed: %s", line)
	}
	for id := range c.instances() {
		if _, old := second[id]; old {
			t.Errorf("%s of revision 2 is in the restored state", id)
		}
	}
	if alive := c.births.alive(); len(alive) != 2 {
		t.Errorf("%d instances run, want the 2 of revision 1: %v", len(alive), alive)
	}
}

// A snapshot that is cut off or of another cluster changes nothing.
func TestRestoreRefuses(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.deploy("version=1")
	file := filepath.Join(c.dir, "one.instar")
	c.saved(file)
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	bad := filepath.Join(c.dir, "bad.instar")
	if err := os.WriteFile(bad, data[:len(data)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	seq := c.seq()
	for _, args := range [][]string{
		{"snapshot", "verify", bad}, {"snapshot", "restore", bad, "-yes"}, {"snapshot", "inspect", "testdata/shop.hcl"}, {"recovery", "approve", "-yes"},
	} {
		if code, out := c.instar(args...); code != 1 {
			t.Errorf("%v: exit code %d\n%s", args, code, out)
		}
	}
	if now := c.seq(); now != seq {
		t.Errorf("%d records, before it were %d", now, seq)
	}
	out, err := exec.Command(filepath.Join(built.bin, "instard"), "restore", "-data-dir", filepath.Join(c.dir, "d"), file).CombinedOutput()
	if err == nil {
		t.Errorf("restored under a running daemon:\n%s", out)
	}
}
