package upstream

import (
	"sync"
	"time"
)

// idleTimeout is shorter than what common servers keep an idle connection for, and idleMax bounds how many
// are kept for one endpoint.
const (
	idleTimeout = 30 * time.Second
	idleMax     = 512
	// trustIdle is for how long an idle connection is taken as open without asking the kernel.
	trustIdle = 5 * time.Millisecond
)

// Pool holds the idle connections to one endpoint, the last used on top.
type Pool struct {
	mu      sync.Mutex
	idle    []*Conn
	closed  bool
	janitor *time.Timer
}

// Get returns an idle connection that is still open, or nil. For a request that could not be repeated
// (once) it only gives one that was used within the last second, and asks the kernel in any case: so the
// endpoint's idle time-out, which nobody can see coming, is far away.
func (p *Pool) Get(now time.Time, once bool) *Conn {
	for {
		p.mu.Lock()
		n := len(p.idle)
		if n == 0 {
			p.mu.Unlock()
			return nil
		}
		c := p.idle[n-1]
		idle := now.Sub(c.idleSince)
		if once && idle > time.Second {
			p.mu.Unlock()
			return nil // the others have been idle for longer still
		}
		p.idle[n-1] = nil
		p.idle = p.idle[:n-1]
		p.mu.Unlock()
		if !once && idle < trustIdle && c.Reader.Buffered() == 0 || !c.Stale() {
			c.Reused = true
			return c
		}
		_ = c.Close()
	}
}

// Put keeps c for another request.
func (p *Pool) Put(c *Conn, now time.Time) {
	c.idleSince = now
	p.mu.Lock()
	if p.closed || len(p.idle) >= idleMax || c.Reader.Buffered() > 0 {
		p.mu.Unlock()
		_ = c.Close()
		return
	}
	p.idle = append(p.idle, c)
	if p.janitor == nil {
		p.janitor = time.AfterFunc(idleTimeout, p.sweep)
	}
	p.mu.Unlock()
}

// sweep closes what has been idle for too long; the timer runs only while there is something to close.
func (p *Pool) sweep() {
	limit := time.Now().Add(-idleTimeout)
	p.mu.Lock()
	keep := 0
	for keep < len(p.idle) && p.idle[keep].idleSince.Before(limit) {
		keep++
	}
	old := append([]*Conn(nil), p.idle[:keep]...)
	p.idle = append(p.idle[:0], p.idle[keep:]...)
	if len(p.idle) == 0 || p.closed {
		p.janitor = nil
	} else {
		p.janitor = time.AfterFunc(time.Until(p.idle[0].idleSince.Add(idleTimeout))+time.Second, p.sweep)
	}
	p.mu.Unlock()
	for _, c := range old {
		_ = c.Close()
	}
}

// Close closes the idle connections, and those that are put back later.
func (p *Pool) Close() {
	p.mu.Lock()
	idle := p.idle
	p.idle, p.closed = nil, true
	if p.janitor != nil {
		p.janitor.Stop()
		p.janitor = nil
	}
	p.mu.Unlock()
	for _, c := range idle {
		_ = c.Close()
	}
}

// Open lets a closed pool keep connections again, for an endpoint that came back.
func (p *Pool) Open() {
	p.mu.Lock()
	p.closed = false
	p.mu.Unlock()
}
