package route

import "time"

// What bounds the requests that wait because no endpoint took a connection.
const (
	// patientMax is how many of one route wait at a time; the others are refused at once. It is about what a gap of a
	// quarter of a second collects at 4000 requests per second, costs some megabytes, and is less than what a listener's
	// queue holds by default (4096), because all of them connect at once when the endpoint is back.
	patientMax = 1000
	// One of those that wait tries again after trialFirst, then after twice as long, at most trialMax: an outage costs
	// an endpoint at most ten dials per second, however many wait.
	trialFirst = 10 * time.Millisecond
	trialMax   = 100 * time.Millisecond
)

// patience is what the requests share that wait because no endpoint took a connection; guarded by the route's lock.
type patience struct {
	waiting int
	pause   time.Duration // before the trial after the next
	trial   time.Time     // when one of them tries again
	news    chan struct{} // closed when another claim may do better; made for the first that waits
}

// tell makes those who wait look again.
func (p *patience) tell() {
	if p.waiting > 0 {
		close(p.news)
		p.news = make(chan struct{})
	}
}

// Await follows a claim that failed with ErrUnreachable. It returns nil as soon as it is worth while to claim again:
// an endpoint has taken a connection of somebody else, the pools have changed, the route is held or was removed, or
// it is this request's turn to try. At until it gives up with ErrUnreachable, and if too many wait already, at once.
// The flight is on no endpoint meanwhile: no drain waits for it, and its next claim follows the pools of then.
func (r *Route) Await(f *Flight, ask Ask, until time.Time) error {
	r.mu.Lock()
	if r.patience.waiting >= patientMax {
		r.mu.Unlock()
		return ErrUnreachable
	}
	r.patience.join(time.Now())
	defer func() {
		r.patience.waiting--
		r.mu.Unlock()
	}()
	var away <-chan struct{}
	if ask.Away != nil {
		r.mu.Unlock()
		away = ask.Away()
		r.mu.Lock()
	}
	for {
		now := time.Now()
		if !now.Before(until) {
			return ErrUnreachable
		}
		if r.promising(ask) || r.patience.turn(now) {
			f.forget()
			return nil
		}
		news, timer := r.patience.news, time.NewTimer(min(r.patience.trial.Sub(now), until.Sub(now)))
		r.mu.Unlock()
		var err error
		select {
		case <-timer.C:
		case <-news:
		case <-away:
			err = ErrAway
		}
		timer.Stop()
		r.mu.Lock()
		if err != nil {
			return err
		}
	}
}

// join counts one more who waits; the first one begins a new series of trials.
func (p *patience) join(now time.Time) {
	if p.waiting == 0 {
		p.news = make(chan struct{})
		p.pause, p.trial = trialFirst, now.Add(trialFirst)
	}
	p.waiting++
}

// turn says whether the caller is the one to try now.
func (p *patience) turn(now time.Time) bool {
	if now.Before(p.trial) {
		return false
	}
	p.pause = min(2*p.pause, trialMax)
	p.trial = now.Add(p.pause)
	return true
}

// promising says whether a claim would do something else than dial endpoints of which it is known that they take no
// connection.
func (r *Route) promising(ask Ask) bool {
	if r.gone || r.hold != nil && ask.Preview == 0 {
		return true
	}
	pools := r.active
	if ask.Preview != 0 {
		pools = nil
		if p := r.previewPool(ask.Preview); p != nil {
			pools = []*pool{p}
		}
	}
	known := false
	for _, p := range pools {
		for _, e := range p.endpoints {
			if !e.down {
				return true
			}
			known = true
		}
	}
	return !known // none at all: the claim says so at once
}
