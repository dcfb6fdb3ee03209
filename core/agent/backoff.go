package agent

import (
	"context"
	"errors"
	"time"

	"github.com/instarhq/instar/sdk"
)

// backoff is a delay that doubles from first to last with every use.
type backoff struct{ first, last, next time.Duration }

func (b *backoff) delay() time.Duration {
	if b.next == 0 {
		b.next = b.first
	}
	d := b.next
	b.next = min(2*b.next, b.last)
	return d
}

func (b *backoff) reset() { b.next = 0 }

// wait sleeps for the next delay, or for as long as the error asks for, and reports whether ctx still
// stands.
func (b *backoff) wait(ctx context.Context, err error) bool {
	d := b.delay()
	var typed *sdk.Error
	if errors.As(err, &typed) && typed.RetryAfter > 0 {
		d = min(max(d, typed.RetryAfter), b.last)
	}
	return sleep(ctx, d)
}

// sleep waits and reports whether ctx still stands.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
