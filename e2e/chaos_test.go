package e2e

import (
	"context"
	"testing"
	"time"

	"github.com/instarhq/instar/e2e/chaos"
)

// TestChaos is a short run with the race detector in everything. `make chaos` is the long one.
func TestChaos(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	if err := chaos.Run(ctx, chaos.Config{Bin: built.bin, Shop: built.shop, Duration: 30 * time.Second, Seed: 36, Out: t.Output()}); err != nil {
		t.Error(err)
	}
}
