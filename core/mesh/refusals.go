package mesh

import (
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

const (
	quietFor    = 10 * time.Second // between two lines about the same
	mostSubject = 1024             // whom lines are counted for
)

// refusals logs what is refused, seldom enough that whoever is refused cannot fill the disk.
type refusals struct {
	log hclog.Logger

	mu   sync.Mutex
	last map[string]*refusal
}

type refusal struct {
	at   time.Time
	more int // that were not logged since
}

func newRefusals(log hclog.Logger) *refusals {
	return &refusals{log: log, last: map[string]*refusal{}}
}

// refuse logs a line about a subject, unless one was logged a moment ago.
func (r *refusals) refuse(subject, message string, args ...any) {
	r.mu.Lock()
	now := time.Now()
	seen, ok := r.last[subject]
	if ok && now.Sub(seen.at) < quietFor {
		seen.more++
		r.mu.Unlock()
		return
	}
	if !ok && len(r.last) >= mostSubject {
		subject = ""
		if seen, ok = r.last[subject]; ok && now.Sub(seen.at) < quietFor {
			seen.more++
			r.mu.Unlock()
			return
		}
		for old, s := range r.last {
			if now.Sub(s.at) >= quietFor {
				delete(r.last, old)
			}
		}
	}
	more := 0
	if ok {
		more = seen.more
	}
	r.last[subject] = &refusal{at: now}
	r.mu.Unlock()
	if more > 0 {
		args = append(args, "and_before", more)
	}
	r.log.Warn(message, args...)
}
