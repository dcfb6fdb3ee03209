package route

import "time"

// Flight is a request, or a TCP or WebSocket connection, on its way through a route. Its owner makes it
// once and uses it for one request after the other.
type Flight struct {
	// Abort ends the request from outside, when its drain deadline is over. It is called with the
	// route's lock held and only while the flight is claimed; it must not wait.
	Abort func()

	Endpoint *Endpoint
	Revision int
	Preview  bool // claimed by the preview header

	route      *Route
	pool       *pool
	trial      time.Duration // the back-off that was over, if the endpoint is down and this is a trial; else 0
	tried      []*Endpoint
	prev, next *Flight
}

// Outcome is how a flight ended.
type Outcome struct {
	Failed bool // 5xx answer or transport error on the endpoint's side
	// Aborted says that the client went away, which is nobody's error and no answer.
	Aborted bool
	Latency time.Duration // from the first byte in to the first byte out; 0: there was none
	Now     time.Time
}

// Done releases the flight.
func (f *Flight) Done(o Outcome) {
	r, e := f.route, f.Endpoint
	r.mu.Lock()
	e.unlink(f)
	if !o.Aborted {
		e.requests++
	}
	if o.Failed && !o.Aborted {
		e.errors++
	}
	if o.Latency > 0 {
		r.reached(e)
		e.latency.record(o.Now, o.Latency)
	}
	if e.left && e.inFlight == 0 {
		r.quiet(e)
	}
	r.mu.Unlock()
	f.forget()
}

// Reached records that the endpoint took a connection.
func (f *Flight) Reached() {
	f.route.mu.Lock()
	f.route.reached(f.Endpoint)
	f.route.mu.Unlock()
}

func (r *Route) reached(e *Endpoint) {
	if e.down {
		r.patience.tell()
	}
	e.down, e.backoff = false, 0
}

// Unreached releases the flight because the endpoint took no connection, or has certainly not received
// the request; another Claim will choose another endpoint. blame marks the endpoint down.
func (f *Flight) Unreached(now time.Time, blame bool) {
	r, e := f.route, f.Endpoint
	r.mu.Lock()
	e.unlink(f)
	if blame {
		f.tried = append(f.tried, e)
		e.requests++
		e.errors++
		e.failed(now, f.trial)
	}
	if e.left && e.inFlight == 0 {
		r.quiet(e)
	}
	r.mu.Unlock()
	f.Endpoint = nil
}

// Reset forgets what was tried, at the end of a request that was given up.
func (f *Flight) Reset() { f.forget() }

func (f *Flight) forget() {
	f.Endpoint, f.pool = nil, nil
	f.Preview = false
	clear(f.tried)
	f.tried = f.tried[:0]
}
