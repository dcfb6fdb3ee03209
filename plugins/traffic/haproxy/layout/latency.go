package layout

import (
	"slices"
	"time"

	"github.com/instarhq/instar/sdk"
)

// An answer that took u microseconds is counted in class c, the number of digits of u above two, under
// u/10^c, which has two digits (in class 0, up to two). The last class takes all that is longer.
const (
	classes      = 7
	keysOfServer = 100_000 // a key is the server's number times this, and the time's bucket
)

// bounds are the shortest and the longest time that are counted in a bucket.
func bounds(bucket int) (least, most time.Duration) {
	class, digits := bucket/100, bucket%100
	if bucket >= classes*100 {
		class, digits = classes-1, bucket-(classes-1)*100
	}
	step := time.Microsecond
	for range class {
		step *= 10
	}
	return time.Duration(digits) * step, time.Duration(digits+1)*step - 1
}

// Latency sums up, from a backend's table, what one of its servers had; server counts from 0.
func Latency(rates map[int]uint64, server int) sdk.Latency {
	var l sdk.Latency
	var buckets []int
	for key, count := range rates {
		if key/keysOfServer == server+1 && count > 0 {
			buckets = append(buckets, key)
			l.Count += count
		}
	}
	slices.Sort(buckets)
	at := func(share float64) time.Duration {
		rank, seen := uint64(share*float64(l.Count)+0.999999), uint64(0)
		for _, key := range buckets {
			if seen += rates[key]; seen >= max(rank, 1) {
				least, most := bounds(key % keysOfServer)
				return least + (most-least)/2
			}
		}
		return 0
	}
	if l.Count > 0 {
		l.P50, l.P90, l.P99, l.Max = at(0.5), at(0.9), at(0.99), at(1)
	}
	return l
}

// Keys are the keys of a table that belong to one server; server counts from 0.
func Keys(rates map[int]uint64, server int) (keys []int) {
	for key := range rates {
		if key/keysOfServer == server+1 {
			keys = append(keys, key)
		}
	}
	return keys
}
