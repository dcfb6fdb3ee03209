package sdktest

import (
	"context"
	"time"

	"github.com/instarhq/instar/sdk"
)

func orDefault(value, otherwise string) string {
	if value == "" {
		return otherwise
	}
	return value
}

// probeOnce reports one health, healthy unless a reason says otherwise, and waits for the end.
func probeOnce(ctx context.Context, h sdk.Health, report func(sdk.Health) error) error {
	if h.Reason == "" {
		h.Healthy = true
	}
	if err := report(h); err != nil {
		return err
	}
	<-ctx.Done()
	return ctx.Err()
}

func parseOptional(attribute, text string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return 0, sdk.InvalidConfig(attribute, "%w", err)
	}
	return d, nil
}

func sleep(ctx context.Context, d time.Duration) error {
	if d == 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
