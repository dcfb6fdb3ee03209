package steady

import (
	"testing"
	"time"
)

// world is a wall clock that can be set, and the time that really passes.
type world struct {
	passed time.Duration
	off    time.Duration
}

var epoch = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func (w *world) wall() time.Time                { return epoch.Add(w.passed + w.off) }
func (w *world) real() time.Duration            { return w.passed }
func (w *world) pass(d time.Duration)           { w.passed += d }
func (w *world) error(c *Clock) string          { return c.Now().Sub(epoch.Add(w.passed)).String() }
func (w *world) diff(t time.Time) time.Duration { return t.Sub(w.wall()) }

// Whatever the wall clock does, a minute lasts between 54 and 66 seconds, and no time comes twice.
func TestStepsAreNoTime(t *testing.T) {
	for _, step := range []time.Duration{time.Second, -time.Second, 10 * time.Minute, -10 * time.Minute, 24 * time.Hour, -24 * time.Hour} {
		w := &world{}
		c := newClock(w.wall, w.real)
		w.pass(time.Minute)
		before := c.Now()
		if got := before.Sub(epoch); got != time.Minute {
			t.Errorf("a minute is %s", got)
		}
		w.off = step
		if now := c.Now(); now != before {
			t.Errorf("a step of %s moves the clock by %s", step, now.Sub(before))
		}
		for range 60 {
			w.pass(time.Second)
			now := c.Now()
			if took := now.Sub(before); took < 900*time.Millisecond || took > 1100*time.Millisecond {
				t.Fatalf("after a step of %s a second lasts %s", step, took)
			}
			before = now
		}
	}
}

// A wall clock that was wrong and has been put right is followed in the end, and a small difference is none.
func TestFollowsTheWallClockInTheEnd(t *testing.T) {
	for _, step := range []time.Duration{time.Hour, -time.Hour} {
		w := &world{}
		c := newClock(w.wall, w.real)
		w.off = step
		for range 11 * 60 {
			w.pass(time.Minute)
			c.Now()
		}
		if left := w.diff(c.Now()).Abs(); left > tolerance {
			t.Errorf("%s after a step of %s it is still off by %s", w.passed, step, left)
		}
	}
	w := &world{off: 0}
	c := newClock(w.wall, w.real)
	w.off = tolerance / 2
	w.pass(time.Minute)
	if got := w.error(c); got != "0s" {
		t.Errorf("it follows a difference that is none: %s", got)
	}
}

// The real clocks go.
func TestRealClock(t *testing.T) {
	c := New()
	first := c.Now()
	if off := time.Since(first).Abs(); off > time.Minute {
		t.Errorf("a new clock is off by %s", off)
	}
	deadline := time.Now().Add(30 * time.Second)
	for !c.Now().After(first) {
		if time.Now().After(deadline) {
			t.Fatal("the clock stands still")
		}
	}
}
