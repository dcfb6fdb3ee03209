package agent

import (
	"context"
	"sync"

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
}

// fetch makes an artifact ready, or waits for somebody who does. It goes on as long as anybody waits.
func (c *compute) fetch(ctx context.Context, driver sdk.Compute, artifact sdk.Artifact) error {
	f := c.fetches.join(artifact.Digest, func(f *fetch) {
		fetching, cancel := context.WithCancel(context.WithoutCancel(ctx))
		f.cancel = cancel
		c.agent.group.Go(func() {
			defer cancel()
			f.err = driver.Fetch(fetching, artifact, nil)
			if f.err != nil {
				c.fetches.drop(artifact.Digest, f)
			}
			close(f.done)
		})
	})
	defer c.fetches.leave(f)
	select {
	case <-f.done:
		return f.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// join returns the fetch of a digest; start begins it if there is none.
func (s *fetches) join(digest string, start func(*fetch)) *fetch {
	s.mu.Lock()
	defer s.mu.Unlock()
	f, ok := s.byDigest[digest]
	if !ok {
		f = &fetch{done: make(chan struct{})}
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
