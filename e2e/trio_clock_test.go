package e2e

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/e2e/clock"
	"github.com/instarhq/instar/e2e/judge"
	"github.com/instarhq/instar/e2e/node"
)

// The leader's wall clock jumps a day, either way, and back in the middle of a rollout: a bake lasts as long
// as it says, no request is lost, no instance is made twice, and the store's clock never goes back.
func TestClocksJumpUnderLoad(t *testing.T) {
	t.Parallel()
	if !clock.Supported() {
		t.Skip("the wall clock of a process can be set on linux with amd64 only")
	}
	bin, clocks := filepath.Join(t.TempDir(), "bin"), clock.New(t.TempDir())
	if err := clock.Build(t.Context(), built.repository, node.Variant{Bin: built.bin, Out: bin, Race: true}); err != nil {
		t.Fatal(err)
	}
	tr := newTrioOf(t, bin, func(o *node.ClusterOptions) { o.Wrap = clocks.Wrap })
	shoppers := startCustomers(tr.addresses)
	for i, offset := range []time.Duration{24 * time.Hour, -24 * time.Hour} {
		leader, err := tr.Leader(tr.ctx)
		if err != nil {
			t.Fatal(err)
		}
		tr.jump(t, clocks, leader, offset)
		done := tr.bakes(t, (leader+1)%3, fmt.Sprint(i))
		tr.await(t, "the rollout to bake", func() bool { return tr.baking(leader) })
		tr.jump(t, clocks, leader, 0)
		if err := <-done; err != nil {
			t.Fatalf("after a jump by %s: %v", offset, err)
		}
		for at := range tr.Nodes {
			tr.must(t, at, "cluster", "token", "create")
		}
	}
	shoppers.leave(t)
	tr.settled(t, 0, 3)
	tr.onceEach(t)
	tr.oneRoot(t)
	records, err := judge.Read(tr.ctx, tr.Nodes[0].API)
	if err != nil {
		t.Fatal(err)
	}
	for i := range records[1:] {
		if records[i+1].Txn.Meta.Time.Before(records[i].Txn.Meta.Time) {
			t.Errorf("record %d is of %s, the one before of %s", records[i+1].Seq, records[i+1].Txn.Meta.Time, records[i].Txn.Meta.Time)
		}
	}
}

// jump sets a node's clock.
func (tr *trio) jump(t *testing.T, clocks *clock.Clocks, at int, offset time.Duration) {
	t.Helper()
	if err := clocks.Set(at+1, offset); err != nil {
		t.Fatal(err)
	}
	if err := clocks.Await(tr.ctx, at+1, offset); err != nil {
		t.Fatal(err)
	}
}

// bakes begins a rollout that bakes for some seconds, and tells how it has ended.
func (tr *trio) bakes(t *testing.T, through int, round string) <-chan error {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(tr.dir, "hello.hcl"))
	if err != nil {
		t.Fatal(err)
	}
	data = bytes.Replace(data, []byte(`bake          = "0s"`), []byte(`bake = "4s"`), 1)
	data = bytes.Replace(data, []byte(`GREETING = "hello"`), fmt.Appendf(nil, "GREETING = \"hello\", ROUND = %q", round), 1)
	file := filepath.Join(tr.dir, "bake.hcl")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		out, err := tr.Nodes[through].CLI(tr.ctx, "apply", "-yes", file)
		if err != nil {
			err = fmt.Errorf("%w\n%s", err, out)
		}
		done <- err
	}()
	return done
}

// baking reports whether the rollout under way bakes, as a node has it.
func (tr *trio) baking(at int) bool {
	view, err := tr.Nodes[at].API.Service(tr.ctx, "hello", 0)
	return err == nil && view.Rollout != nil && view.Rollout.Rollout.Phase == core.RolloutBaking
}
