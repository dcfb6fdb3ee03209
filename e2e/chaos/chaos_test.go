package chaos_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/instarhq/instar/e2e/chaos"
	"github.com/instarhq/instar/e2e/node"
)

// TestChaos is a short run with the race detector in everything. `make chaos` is the long one.
func TestChaos(t *testing.T) {
	repository, err := node.Repository()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := node.TempDir()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	bin, shop := filepath.Join(dir, "bin"), filepath.Join(dir, "shop")
	if err := node.Build(t.Context(), repository, bin, true); err != nil {
		t.Fatal(err)
	}
	build := exec.CommandContext(t.Context(), "go", "build", "-o", shop+"/", "./examples/shop", "./e2e/announce")
	build.Dir = repository
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	if err := chaos.Run(ctx, chaos.Config{Bin: bin, Shop: shop, Duration: 30 * time.Second, Seed: 36, Out: t.Output()}); err != nil {
		t.Error(err)
	}
}
