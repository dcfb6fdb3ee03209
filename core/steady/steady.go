// Package steady has a clock for durations that are kept in the store: deadlines, grace periods, bakes. Such
// a time has to be a wall clock's, because another node may go on from it; but a wall clock is set, by a
// person or by NTP, and one that jumps a day ahead would end every deadline, and one that jumps back would
// stop them all for a day.
package steady

import (
	"sync"
	"time"
)

// slew is how much faster or slower than real time the clock goes while it is off: a difference of an hour
// is gone after ten.
const slew = 10

// tolerance is the difference to the wall clock that is none: what NTP does all the time.
const tolerance = 100 * time.Millisecond

// Clock follows the wall clock, but never jumps. It goes on while the machine sleeps. Make one with New; it
// is safe for concurrent use.
type Clock struct {
	wall    func() time.Time
	elapsed func() time.Duration // of real time, since some moment

	mu   sync.Mutex
	now  time.Time     // at the time of last
	last time.Duration // of elapsed
}

// New makes a clock that shows the wall clock's time.
func New() *Clock { return newClock(time.Now, elapsed) }

func newClock(wall func() time.Time, elapsed func() time.Duration) *Clock {
	return &Clock{wall: wall, elapsed: elapsed, now: wall().Round(0), last: elapsed()}
}

// Now is the time, without a monotonic reading. It never goes back.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	at := c.elapsed()
	passed := max(at-c.last, 0)
	off := c.wall().Round(0).Sub(c.now.Add(passed))
	switch most := passed / slew; {
	case off.Abs() <= tolerance:
	case off > 0:
		passed += min(off, most)
	default:
		passed -= min(-off, most)
	}
	c.now, c.last = c.now.Add(passed), at
	return c.now
}
