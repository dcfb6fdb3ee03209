package health

import (
	"context"
	"time"

	"github.com/instarhq/instar/core"
)

// Loop is loop for an instance that was healthy before a restart.
func Loop(ctx context.Context, check core.HealthCheck, probe Prober) {
	loop(ctx, NewMachine(check, Verdict{Healthy: true}, time.Now()), probe, func(Verdict) {})
}
