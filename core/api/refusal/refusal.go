// Package refusal counts the requests that were refused, by where they came from, and says when it has been
// too many: then a source is told to go away for a while, and its refusals are no longer logged one by one.
// Requests that are allowed are never held up: whoever shares an address with a source that is refused goes
// on unharmed.
package refusal

import (
	"container/list"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const (
	// burst refusals of one source are answered in full, then perSecond of them.
	burst     = 20
	perSecond = 1
	// maxSources bounds the memory; the source that has been quiet for longest is forgotten.
	maxSources = 4096
)

// Limiter counts refusals. The zero value is not usable: see New. Safe for concurrent use.
type Limiter struct {
	now func() time.Time

	mu      sync.Mutex
	sources map[string]*list.Element
	recent  *list.List // of *source, the one refused last in front
}

type source struct {
	name       string
	limit      *rate.Limiter
	suppressed int // refusals that were not logged since the last one that was
}

// New makes a limiter with a clock; nil: time.Now.
func New(now func() time.Time) *Limiter {
	if now == nil {
		now = time.Now
	}
	return &Limiter{now: now, sources: map[string]*list.Element{}, recent: list.New()}
}

// Refused counts a refusal. If wait is 0 it is to be answered and logged, and suppressed tells how many
// were not since the last one; else the source has been refused too often and may come back after wait.
func (l *Limiter) Refused(name string) (wait time.Duration, suppressed int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.source(name)
	now := l.now()
	if s.limit.AllowN(now, 1) {
		suppressed, s.suppressed = s.suppressed, 0
		return 0, suppressed
	}
	s.suppressed++
	missing := 1 - s.limit.TokensAt(now)
	return max(time.Second, time.Duration(missing/perSecond*float64(time.Second))), 0
}

func (l *Limiter) source(name string) *source {
	if e, ok := l.sources[name]; ok {
		l.recent.MoveToFront(e)
		return e.Value.(*source)
	}
	if len(l.sources) >= maxSources {
		oldest := l.recent.Back()
		delete(l.sources, l.recent.Remove(oldest).(*source).name)
	}
	s := &source{name: name, limit: rate.NewLimiter(perSecond, burst)}
	l.sources[name] = l.recent.PushFront(s)
	return s
}

// Source names where a request comes from: an IPv4 address, or an IPv6 network of 64 bits, since whoever has
// one address of that has them all.
func Source(remote string) string {
	host, _, err := net.SplitHostPort(remote)
	if err != nil {
		return remote
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return host
	}
	if ip = ip.Unmap().WithZone(""); ip.Is6() {
		if network, err := ip.Prefix(64); err == nil {
			return network.String()
		}
	}
	return ip.String()
}
