package cluster

import (
	"sync"
	"time"

	"github.com/instarhq/instar/core"
)

// Bounds of failed attempts to join. A secret has 256 bits: this keeps logs and processors quiet, it is not
// what keeps guesses out.
const (
	attempts    = 5               // from one address at once
	forgiveness = 2 * time.Second // until one of them is forgotten
	mostSources = 4096
)

// limiter counts failures by where they come from.
type limiter struct {
	now func() time.Time

	mu   sync.Mutex
	full map[string]time.Time // when the last failure of an address is forgotten
}

func newLimiter(now func() time.Time) *limiter {
	return &limiter{now: now, full: map[string]time.Time{}}
}

// allow refuses an address that has failed too often a moment ago.
func (l *limiter) allow(source string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	left := l.full[source].Sub(l.now())
	if left <= (attempts-1)*forgiveness {
		return nil
	}
	e := core.Errorf(core.CodeUnavailable, "too many attempts to join from %s have failed", source)
	e.RetryAfter = left - (attempts-1)*forgiveness
	return e
}

// failed counts a failure.
func (l *limiter) failed(source string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	if len(l.full) >= mostSources {
		for s, until := range l.full {
			if until.Before(now) {
				delete(l.full, s)
			}
		}
		if len(l.full) >= mostSources {
			source = "" // together with all the others
		}
	}
	until := l.full[source]
	if until.Before(now) {
		until = now
	}
	l.full[source] = until.Add(forgiveness)
}
