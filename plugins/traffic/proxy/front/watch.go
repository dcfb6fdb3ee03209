package front

import (
	"errors"
	"os"
	"time"
)

// watch looks whether the client goes away while its endpoint is silent, and ends the request then. What
// the client sends meanwhile is the next request: it is kept, and proof enough that the client is there.
// It is called by the goroutine that serves the connection, at most once for a request.
func (c *conn) watch() {
	if c.watching != nil || c.x.sending.Load() || len(c.in.Spare()) == 0 {
		return
	}
	done, left := make(chan struct{}), make(chan struct{})
	c.watching, c.left, c.gone = done, left, false
	c.setReadBy(time.Time{})
	go func() {
		defer close(done)
		n, err := c.nc.Read(c.in.Spare())
		c.in.Added(n)
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			c.gone = true
			close(left)
			c.x.closeUpstream()
		}
	}()
}

// watchHeld is the watch for a request that is held; see route.Ask.
func (c *conn) watchHeld() <-chan struct{} {
	c.watch()
	return c.left
}

// unwatch ends the watch and says whether the client has gone.
func (c *conn) unwatch() (gone bool) {
	if c.watching != nil {
		_ = c.nc.SetReadDeadline(time.Unix(1, 0))
		<-c.watching
		c.watching, c.left = nil, nil
		c.setReadBy(time.Time{})
	}
	gone, c.gone = c.gone, false
	return gone
}
