package agent

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/sdk"
)

// fetches are the artifacts of one target that are being made ready, or are ready as far as we know:
// a hundred instances of a revision fetch its artifact once.
type fetches struct {
	mu       sync.Mutex
	byDigest map[string]*fetch
}

type fetch struct {
	done    chan struct{} // closed when it has ended
	err     error
	waiting int
	cancel  context.CancelFunc
	sofar   atomic.Pointer[core.Fetch] // what the driver has said last; nil: nothing yet
	teller  chan struct{}              // has the token of the one who tells how far it is
}

// fetch makes an artifact ready, or waits for somebody who does. It goes on as long as anybody waits. One of those who
// wait is asked to tell how far it is, and told nil at the end.
func (c *compute) fetch(ctx context.Context, driver sdk.Compute, artifact sdk.Artifact, tell func(*core.Fetch)) error {
	f := c.fetches.join(artifact.Digest, func(f *fetch) {
		fetching, cancel := context.WithCancel(context.WithoutCancel(ctx))
		f.cancel = cancel
		c.agent.group.Go(func() {
			defer cancel()
			f.err = driver.Fetch(fetching, artifact, func(p sdk.FetchProgress) {
				f.sofar.Store(&core.Fetch{Done: p.Done, Total: p.Total})
			})
			if f.err != nil {
				c.fetches.drop(artifact.Digest, f)
			}
			close(f.done)
		})
	})
	defer c.fetches.leave(f)
	select {
	case <-f.done:
	case <-ctx.Done():
	case <-f.teller:
		f.tell(ctx, c.agent.started, tell)
		f.teller <- struct{}{} // somebody else goes on, if this instance is not wanted any more
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return f.err
}

// join returns the fetch of a digest; start begins it if there is none.
func (s *fetches) join(digest string, start func(*fetch)) *fetch {
	s.mu.Lock()
	defer s.mu.Unlock()
	f, ok := s.byDigest[digest]
	if !ok {
		f = &fetch{done: make(chan struct{}), teller: make(chan struct{}, 1)}
		f.teller <- struct{}{}
		if s.byDigest == nil {
			s.byDigest = map[string]*fetch{}
		}
		s.byDigest[digest] = f
		start(f)
	}
	f.waiting++
	return f
}

// leave ends a fetch that nobody waits for any more.
func (s *fetches) leave(f *fetch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f.waiting--
	select {
	case <-f.done:
	default:
		if f.waiting == 0 {
			for digest, other := range s.byDigest {
				if other == f {
					delete(s.byDigest, digest)
				}
			}
			f.cancel()
		}
	}
}

// drop removes a fetch that failed, so that the next one tries again.
func (s *fetches) drop(digest string, f *fetch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byDigest[digest] == f {
		delete(s.byDigest, digest)
	}
}

// forget makes the next fetch of a digest ask the driver again; the empty digest means all.
func (s *fetches) forget(digest string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for d, f := range s.byDigest {
		select {
		case <-f.done:
			if digest == "" || d == digest {
				delete(s.byDigest, d)
			}
		default:
		}
	}
}
