package route

import (
	"time"

	"github.com/instarhq/instar/sdk"
)

// What a hold without limits gets.
const (
	holdRequests = 1000
	holdTimeout  = 10 * time.Second
)

// hold is a route that lets no new request through.
type hold struct {
	limits  sdk.HoldLimits
	until   time.Time
	timer   *time.Timer
	waiting map[*waiter]struct{}
	order   []*waiter // oldest first; may still have some that gave up
}

type waiter struct {
	flight *Flight
	ask    Ask
	result chan error // buffered: the giver never waits
}

// Hold makes claims wait until Release, at most for limits.Timeout. A hold that is in force gets the new
// limits and begins anew.
func (r *Route) Hold(limits sdk.HoldLimits) {
	if limits.Requests <= 0 {
		limits.Requests = holdRequests
	}
	if limits.Timeout <= 0 {
		limits.Timeout = holdTimeout
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.gone {
		return
	}
	if r.hold == nil {
		r.hold = &hold{waiting: make(map[*waiter]struct{})}
	} else {
		r.hold.timer.Stop()
	}
	h := r.hold
	h.limits, h.until = limits, time.Now().Add(limits.Timeout)
	h.timer = time.AfterFunc(limits.Timeout, func() { r.release(h) })
	r.patience.tell() // who waits for an endpoint waits for the release now
}

// Release gives every held request an endpoint of the pools as they are now, oldest first.
func (r *Route) Release() { r.release(nil) }

// release ends the hold; only is the hold whose time is over, or nil for any.
func (r *Route) release(only *hold) {
	r.mu.Lock()
	defer r.mu.Unlock()
	h := r.hold
	if h == nil || only != nil && (h != only || time.Now().Before(h.until)) {
		return
	}
	r.hold = nil
	h.timer.Stop()
	now := time.Now()
	for _, w := range h.order {
		if _, ok := h.waiting[w]; !ok {
			continue
		}
		w.ask.Now = now
		if r.gone {
			w.result <- ErrGone
		} else {
			w.result <- r.take(w.flight, w.ask)
		}
	}
}

// wait is called with the lock and gives it up.
func (r *Route) wait(f *Flight, ask Ask) error {
	h := r.hold
	if len(h.waiting) >= h.limits.Requests {
		r.mu.Unlock()
		return ErrHeld
	}
	w := &waiter{flight: f, ask: ask, result: make(chan error, 1)}
	h.waiting[w] = struct{}{}
	if len(h.order) > 2*len(h.waiting) { // those that gave up are dropped, in time proportional to those that waited
		h.order = h.waitingInOrder()
	}
	h.order = append(h.order, w)
	limit := h.limits.Timeout
	r.mu.Unlock()

	var away <-chan struct{}
	if ask.Away != nil {
		away = ask.Away()
	}
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case err := <-w.result:
		return err
	case <-timer.C:
		return r.giveUp(h, w, ErrHeld)
	case <-away:
		return r.giveUp(h, w, ErrAway)
	}
}

func (h *hold) waitingInOrder() []*waiter {
	kept := h.order[:0]
	for _, w := range h.order {
		if _, ok := h.waiting[w]; ok {
			kept = append(kept, w)
		}
	}
	clear(h.order[len(kept):])
	return kept
}

// giveUp ends a wait, unless Release was faster: then its result counts, because the flight is claimed.
func (r *Route) giveUp(h *hold, w *waiter, err error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	select {
	case result := <-w.result:
		return result
	default:
	}
	delete(h.waiting, w)
	return err
}

// Held tells how long a hold will last at most, and its limits; zero if there is none.
func (r *Route) Held() (limits sdk.HoldLimits, left time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.hold == nil {
		return sdk.HoldLimits{}, 0
	}
	return r.hold.limits, max(time.Until(r.hold.until), time.Millisecond)
}
