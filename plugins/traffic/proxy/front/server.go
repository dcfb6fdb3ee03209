package front

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
)

// Server holds what all listeners share.
type Server struct {
	logger   hclog.Logger
	settings atomic.Pointer[Settings]
	retiring atomic.Bool // every answer ends its connection

	mu        sync.Mutex
	cond      sync.Cond
	clients   map[*client]struct{}
	listeners map[*Listener]struct{}
}

// NewServer makes a server without listeners.
func NewServer(logger hclog.Logger) *Server {
	s := &Server{logger: logger, clients: make(map[*client]struct{}), listeners: make(map[*Listener]struct{})}
	s.cond.L = &s.mu
	s.Set(DefaultSettings())
	return s
}

// Set puts settings in force, for connections that come from now on.
func (s *Server) Set(settings Settings) {
	s.settings.Store(&settings)
	s.mu.Lock()
	s.cond.Broadcast()
	s.mu.Unlock()
}

// client is one client's connection, counted until it is closed.
type client struct {
	*net.TCPConn
	server *Server
	idle   atomic.Bool // between two requests of HTTP/1.1
	once   sync.Once
}

// Close closes the connection and gives its place free.
func (c *client) Close() error {
	err := c.TCPConn.Close()
	c.once.Do(func() {
		s := c.server
		s.mu.Lock()
		delete(s.clients, c)
		s.cond.Broadcast()
		s.mu.Unlock()
	})
	return err
}

// enter waits for a place for one more client. Beyond the limit clients wait in the kernel's queue.
// It returns false if the listener was closed meanwhile.
func (s *Server) enter(l *Listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.clients) >= s.settings.Load().MaxConnections && !l.closed {
		s.cond.Wait()
	}
	return !l.closed
}

func (s *Server) admit(nc *net.TCPConn) *client {
	c := &client{TCPConn: nc, server: s}
	s.mu.Lock()
	s.clients[c] = struct{}{}
	s.mu.Unlock()
	return c
}

// Retire makes every further answer end its connection, and stops accepting. Connections go on.
func (s *Server) Retire() {
	s.retiring.Store(true)
	for _, l := range s.all() {
		l.Close()
	}
}

func (s *Server) all() []*Listener {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []*Listener
	for l := range s.listeners {
		all = append(all, l)
	}
	return all
}

// CloseIdle closes the connections on which no request is under way.
func (s *Server) CloseIdle() {
	for _, c := range s.snapshot(func(c *client) bool { return c.idle.Load() }) {
		_ = c.Close()
	}
}

// CloseAll closes every client's connection.
func (s *Server) CloseAll() {
	for _, c := range s.snapshot(func(*client) bool { return true }) {
		_ = c.Close()
	}
}

func (s *Server) snapshot(want func(*client) bool) []*client {
	s.mu.Lock()
	defer s.mu.Unlock()
	var some []*client
	for c := range s.clients {
		if want(c) {
			some = append(some, c)
		}
	}
	return some
}

// Clients counts the connections of clients.
func (s *Server) Clients() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.clients)
}

// Drained waits until no client is connected, or ctx ends.
func (s *Server) Drained(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() {
		s.mu.Lock()
		s.cond.Broadcast()
		s.mu.Unlock()
	})
	defer stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.clients) > 0 {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		s.cond.Wait()
	}
	return nil
}

// deadline keeps a connection's write deadline about stallTimeout ahead without setting it for each write.
type deadline struct{ until time.Time }

func (d *deadline) push(conn net.Conn, now time.Time) {
	if d.until.Sub(now) < stallTimeout/2 {
		d.until = now.Add(stallTimeout)
		_ = conn.SetWriteDeadline(d.until)
	}
}
