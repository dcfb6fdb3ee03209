package driverhost

import (
	"math/rand/v2"
	"time"
)

// Bounds of the pause between two attempts to bring a driver up.
const (
	minPause = time.Second
	maxPause = time.Minute
)

// backoff doubles the pause with each failure. The zero value has not failed yet.
type backoff struct{ failures int }

// next is how long to wait after one more failure: up to 20 % more or less than the doubled pause, so that
// many drivers that fail for one reason do not come back at one moment.
func (b *backoff) next() time.Duration {
	pause := maxPause
	if b.failures < 6 { // 1 s << 6 is over a minute
		pause = minPause << b.failures
	}
	b.failures++
	return time.Duration(float64(pause) * (0.8 + 0.4*rand.Float64()))
}

func (b *backoff) reset() { b.failures = 0 }
