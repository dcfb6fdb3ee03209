package route

import (
	"math/bits"
	"time"

	"github.com/instarhq/instar/sdk"
)

// The latency window: the present slice and the five before it, so a summary spans 50 to 60 seconds.
const (
	spans     = 6
	sliceTime = 10 * time.Second
)

// Buckets are log-linear: 16 for each power of two of microseconds, so a value is off by at most 6 %. The
// last bucket takes everything over about an hour.
const (
	subBits = 4
	sub     = 1 << subBits
	octaves = 28
	buckets = (octaves + 1) * sub
)

// window counts latencies of about the last minute. It is guarded by the lock of its route.
type window struct {
	slice [spans]*[buckets]uint32 // allocated when first used
	max   [spans]time.Duration
	epoch [spans]int64 // which slice of time each one holds
}

func bucket(d time.Duration) int {
	us := uint64(max(0, d.Microseconds()))
	if us < sub {
		return int(us)
	}
	exp := bits.Len64(us) - subBits - 1
	return min(exp*sub+int(us>>exp), buckets-1)
}

// middle is the value that stands for a bucket.
func middle(b int) time.Duration {
	if b < 2*sub {
		return time.Duration(b) * time.Microsecond
	}
	exp := b/sub - 1
	low := uint64(b%sub+sub) << exp
	return time.Duration(low+uint64(1)<<exp/2) * time.Microsecond
}

func (w *window) record(now time.Time, d time.Duration) {
	epoch := now.UnixNano() / int64(sliceTime)
	i := epoch % spans
	if w.epoch[i] != epoch || w.slice[i] == nil {
		w.epoch[i], w.max[i] = epoch, 0
		if w.slice[i] == nil {
			w.slice[i] = new([buckets]uint32)
		} else {
			clear(w.slice[i][:])
		}
	}
	w.slice[i][bucket(d)]++
	w.max[i] = max(w.max[i], d)
}

func (w *window) summary(now time.Time) sdk.Latency {
	var total [buckets]uint64
	var l sdk.Latency
	epoch := now.UnixNano() / int64(sliceTime)
	for i := range w.slice {
		if w.slice[i] == nil || w.epoch[i] <= epoch-spans {
			continue
		}
		l.Max = max(l.Max, w.max[i])
		for b, n := range w.slice[i] {
			total[b] += uint64(n)
			l.Count += uint64(n)
		}
	}
	if l.Count == 0 {
		return l
	}
	at := func(share float64) time.Duration {
		want := uint64(share*float64(l.Count-1)) + 1
		var seen uint64
		for b, n := range &total {
			if seen += n; seen >= want {
				return min(middle(b), l.Max)
			}
		}
		return l.Max
	}
	l.P50, l.P90, l.P99 = at(0.50), at(0.90), at(0.99)
	return l
}
