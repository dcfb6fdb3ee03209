package smoke

import (
	"context"
	"time"
)

// RunImpatiently is Run with hardly a pause between attempts.
func RunImpatiently(ctx context.Context, c *Check) error { return run(ctx, c, time.Millisecond) }
