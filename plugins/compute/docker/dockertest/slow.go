package dockertest

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"time"
)

// Slow serves what a registry has a second time, at a host of its own, where blobs come slowly and stop halfway until they
// are released.
type Slow struct {
	Host string

	server   *http.Server
	ended    chan error
	released chan struct{}
	once     sync.Once
}

// StartSlow starts one that gives blobs at so many bytes per second, the second half only after Release. It ends with Stop.
func (r *Registry) StartSlow(rate int) (*Slow, error) {
	own, _, err := net.SplitHostPort(r.Host)
	if err != nil {
		return nil, err
	}
	ln, err := net.Listen("tcp", own+":0")
	if err != nil {
		return nil, err
	}
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: r.Host})
	proxy.FlushInterval = -1
	s := &Slow{
		Host: ln.Addr().String(), ended: make(chan error, 1), released: make(chan struct{}),
		server: &http.Server{Handler: proxy, ReadHeaderTimeout: startWithin},
	}
	proxy.ModifyResponse = func(resp *http.Response) error {
		if strings.Contains(resp.Request.URL.Path, "/blobs/") {
			resp.Body = &trickle{ReadCloser: resp.Body, ctx: resp.Request.Context(), rate: rate, left: resp.ContentLength / 2, more: s.released}
		}
		return nil
	}
	go func() { s.ended <- s.server.Serve(ln) }()
	return s, nil
}

// Release gives what is held back.
func (s *Slow) Release() { s.once.Do(func() { close(s.released) }) }

// Stop ends it.
func (s *Slow) Stop() error {
	s.Release()
	err := s.server.Close()
	if ended := <-s.ended; !errors.Is(ended, http.ErrServerClosed) {
		err = errors.Join(err, ended)
	}
	return err
}

// trickle gives a body at a rate, and after a number of bytes waits until there is to be more.
type trickle struct {
	io.ReadCloser
	ctx  context.Context
	rate int
	left int64
	more <-chan struct{}
}

// Read implements io.Reader.
func (t *trickle) Read(p []byte) (int, error) {
	if t.left <= 0 {
		select {
		case <-t.ctx.Done():
			return 0, t.ctx.Err()
		case <-t.more:
		}
	}
	n, err := t.ReadCloser.Read(p)
	t.left -= int64(n)
	select {
	case <-t.ctx.Done():
	case <-time.After(time.Duration(n) * time.Second / time.Duration(t.rate)):
	}
	return n, err
}
