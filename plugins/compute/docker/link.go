package docker

import (
	"context"
	"sync"

	"github.com/instarhq/instar/sdk"
)

// link is what is known of the connection to the engine: whether its events are being followed.
type link struct {
	mu      sync.Mutex
	up      bool
	tried   bool
	err     error
	changed chan struct{} // closed at every change
	again   chan struct{} // readable: try now
}

func newLink() *link { return &link{changed: make(chan struct{}), again: make(chan struct{}, 1)} }

// set notes whether events are being followed, and if not, why.
func (l *link) set(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.up, l.tried, l.err = err == nil, true, err
	close(l.changed)
	l.changed = make(chan struct{})
}

// linkState is what is known at one moment.
type linkState struct {
	up, tried bool
	err       error           // why it is down
	changed   <-chan struct{} // closed at the next change
}

func (l *link) state() linkState {
	l.mu.Lock()
	defer l.mu.Unlock()
	return linkState{l.up, l.tried, l.err, l.changed}
}

// poke makes a link that is down try again now.
func (l *link) poke() {
	select {
	case l.again <- struct{}{}:
	default:
	}
}

// await waits for the first attempt, and returns Unavailable if the link is down.
func (l *link) await(ctx context.Context) error {
	l.poke()
	for {
		now := l.state()
		switch {
		case now.up:
			return nil
		case now.tried:
			return sdk.Unavailable(retryAfter, "%w", now.err)
		}
		select {
		case <-now.changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// nudge makes a link that is down try again now, because the engine has answered.
func (l *link) nudge() {
	if !l.state().up {
		l.poke()
	}
}
