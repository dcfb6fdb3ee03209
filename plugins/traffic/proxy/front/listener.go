package front

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/instarhq/instar/plugins/traffic/proxy/http1"
	"github.com/instarhq/instar/plugins/traffic/proxy/route"
)

// Rules are what a listener does with its clients.
type Rules struct {
	TCP   bool // plain connections instead of HTTP
	TLS   bool // terminates TLS
	Table *route.Table
	Certs *Certificates // with TLS
}

// Listener accepts clients at one address.
type Listener struct {
	server *Server
	ln     *net.TCPListener
	http   *tls.Config // one for all connections, so that sessions can be resumed
	tcp    *tls.Config
	rules  atomic.Pointer[Rules]
	closed bool // guarded by Server.mu
	done   chan struct{}

	h2once  sync.Once
	h2queue *handoff
	h2      *http.Server
}

// Listen makes a listener of a socket that listens already. It accepts nobody before Start.
func (s *Server) Listen(ln *net.TCPListener, rules Rules) *Listener {
	l := &Listener{server: s, ln: ln, done: make(chan struct{})}
	l.tcp = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		return l.rules.Load().Certs.Choose(hello)
	}}
	l.http = l.tcp.Clone()
	l.http.NextProtos = []string{"h2", "http/1.1"}
	l.Set(rules)
	s.mu.Lock()
	s.listeners[l] = struct{}{}
	s.mu.Unlock()
	return l
}

// Start begins to accept clients.
func (l *Listener) Start() { go l.accept() }

// Set puts rules in force: for requests and for connections that come from now on.
func (l *Listener) Set(rules Rules) { l.rules.Store(&rules) }

// find returns the route of a request, or nil.
func (l *Listener) find(r *http1.Request) *route.Route {
	return l.rules.Load().Table.Find(r.Host, r.Path)
}

// Socket returns the listening socket, to be handed to another process.
func (l *Listener) Socket() *net.TCPListener { return l.ln }

// Close stops accepting; connections go on, and each ends with its next answer.
func (l *Listener) Close() {
	s := l.server
	s.mu.Lock()
	first := !l.closed
	l.closed = true
	delete(s.listeners, l)
	s.cond.Broadcast()
	s.mu.Unlock()
	if !first {
		return
	}
	_ = l.ln.Close()
	close(l.done)
	l.closeH2()
}

// ending says whether answers have to end their connections.
func (l *Listener) ending() bool {
	if l.server.retiring.Load() {
		return true
	}
	select {
	case <-l.done:
		return true
	default:
		return false
	}
}

func (l *Listener) accept() {
	var pause time.Duration
	for l.server.enter(l) {
		nc, err := l.ln.AcceptTCP()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			// Out of descriptors, as a rule: others may close some.
			pause = min(max(5*time.Millisecond, 2*pause), time.Second)
			l.server.logger.Warn("cannot accept a connection", "listener", l.ln.Addr().String(), "error", err)
			select {
			case <-time.After(pause):
			case <-l.done:
			}
			continue
		}
		pause = 0
		go l.serve(l.server.admit(nc))
	}
}

// serve is the life of one client's connection.
func (l *Listener) serve(c *client) {
	var conn net.Conn = c
	rules := l.rules.Load()
	if rules.TLS {
		secure, ok := l.handshake(c, rules)
		if !ok {
			_ = c.Close()
			return
		}
		if secure.ConnectionState().NegotiatedProtocol == "h2" {
			l.serveH2(secure)
			return
		}
		conn = secure
	}
	if rules.TCP {
		l.serveTCP(c, conn, rules.Table.Only())
		return
	}
	newConn(l, c, conn).serve()
}

func (l *Listener) handshake(c *client, rules *Rules) (*tls.Conn, bool) {
	config := l.http
	if rules.TCP {
		config = l.tcp
	}
	secure := tls.Server(c, config)
	ctx, cancel := context.WithTimeout(context.Background(), l.server.settings.Load().ReadHeaderTimeout)
	defer cancel()
	if err := secure.HandshakeContext(ctx); err != nil {
		l.server.logger.Debug("TLS handshake failed", "client", c.RemoteAddr().String(), "error", err)
		return nil, false
	}
	return secure, true
}
