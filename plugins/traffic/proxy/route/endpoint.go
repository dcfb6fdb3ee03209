package route

import (
	"time"

	"github.com/instarhq/instar/plugins/traffic/proxy/upstream"
	"github.com/instarhq/instar/sdk"
)

// An endpoint that refused a connection is left alone for backoffFirst, then for twice as long after each
// further refusal, at most backoffMax. A trial that fails again costs its request nothing but the time of a
// dial, so the back-off is short.
const (
	backoffFirst = 250 * time.Millisecond
	backoffMax   = 5 * time.Second
)

// Endpoint is one instance behind a route. All but ID, Address and Conns is guarded by the route's lock.
type Endpoint struct {
	ID      string
	Address string
	Conns   upstream.Pool

	inFlight int
	requests uint64
	errors   uint64
	latency  window
	flights  Flight // sentinel of the ring of requests in flight

	down    bool
	backoff time.Duration
	retryAt time.Time

	left     bool // no longer part of the route
	deadline *time.Timer
}

func newEndpoint(e sdk.Endpoint) *Endpoint {
	ep := &Endpoint{ID: e.ID, Address: e.Address}
	ep.flights.next, ep.flights.prev = &ep.flights, &ep.flights
	return ep
}

// usable says whether the endpoint may get a request now. A down endpoint whose back-off is over gets one
// for trial.
func (e *Endpoint) usable(now time.Time) bool {
	return !e.down || !now.Before(e.retryAt)
}

// failed marks the endpoint down. after is the back-off that was over when it was tried; 0 if it was believed up, or
// tried because no other endpoint was left.
func (e *Endpoint) failed(now time.Time, after time.Duration) {
	if !e.down {
		after = 0 // somebody else has reached it since
	}
	backoff := min(max(backoffFirst, 2*after), backoffMax)
	if e.down && backoff <= e.backoff {
		return // others found out at the same time
	}
	e.down, e.backoff, e.retryAt = true, backoff, now.Add(backoff)
}

func (e *Endpoint) link(f *Flight) {
	f.prev, f.next = e.flights.prev, &e.flights
	f.prev.next, f.next.prev = f, f
	e.inFlight++
}

func (e *Endpoint) unlink(f *Flight) {
	f.prev.next, f.next.prev = f.next, f.prev
	f.prev, f.next = nil, nil
	e.inFlight--
}

// abort ends everything in flight; each flight's owner releases it in its own time.
func (e *Endpoint) abort() {
	for f := e.flights.next; f != &e.flights; f = f.next {
		f.Abort()
	}
}

func (e *Endpoint) observe(now time.Time) sdk.EndpointObservation {
	o := sdk.EndpointObservation{
		ID: e.ID, Address: e.Address, State: sdk.EndpointUp,
		InFlight: e.inFlight, Requests: e.requests, Errors: e.errors, Latency: e.latency.summary(now),
	}
	switch {
	case e.left:
		o.State = sdk.EndpointDraining
	case e.down:
		o.State = sdk.EndpointDown
	}
	return o
}
