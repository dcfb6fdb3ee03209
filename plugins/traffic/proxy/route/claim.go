package route

import (
	"errors"
	"time"
)

// Why a claim failed.
var (
	ErrGone        = errors.New("the route was removed")
	ErrNoPreview   = errors.New("no such preview")
	ErrNoEndpoint  = errors.New("no endpoint to send to")
	ErrUnreachable = errors.New("no endpoint took a connection")
	ErrHeld        = errors.New("the route is held and its limits are reached")
	ErrAway        = errors.New("the client went away while it was held")
)

// Ask is what a claim wants.
type Ask struct {
	Now     time.Time
	Preview int // the revision of the preview header; 0: none
	// Away gives a channel that is closed when the client goes away. It is called only if the claim has
	// to wait; it, and what it gives, may be nil.
	Away func() <-chan struct{}
}

// Claim puts the flight on an endpoint of the route. While the route is held it waits.
func (r *Route) Claim(f *Flight, ask Ask) error {
	r.mu.Lock()
	if r.gone {
		r.mu.Unlock()
		return ErrGone
	}
	// A preview is looked at before a switch, and a hold may be part of that switch: it goes through.
	if r.hold != nil && ask.Preview == 0 {
		return r.wait(f, ask)
	}
	err := r.take(f, ask)
	r.mu.Unlock()
	return err
}

// take gives the flight an endpoint of the pools as they are now.
func (r *Route) take(f *Flight, ask Ask) error {
	var p *pool
	var e *Endpoint
	if ask.Preview != 0 {
		if p = r.previewPool(ask.Preview); p == nil {
			return ErrNoPreview
		}
		if e = p.choose(f, ask.Now, r.balance, false); e == nil {
			e = p.choose(f, ask.Now, r.balance, true)
		}
	} else {
		p, e = r.pick(f, ask.Now)
	}
	if e == nil {
		if len(f.tried) > 0 {
			return ErrUnreachable
		}
		return ErrNoEndpoint
	}
	f.route, f.pool, f.Endpoint = r, p, e
	f.Revision, f.Preview = p.revision, ask.Preview != 0
	e.link(f)
	return nil
}

func (r *Route) previewPool(revision int) *pool {
	for _, p := range r.pools {
		if p.revision == revision && p.preview {
			return p
		}
	}
	return nil
}
