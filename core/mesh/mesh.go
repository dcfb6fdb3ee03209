package mesh

import (
	"container/list"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/instarhq/instar/core/identity"
)

// Credentials are this node's own, and its knowledge of whom to believe; core/identity/keeper has them.
// They may change at any time; call Recheck then.
type Credentials interface {
	// Server is for connections of members, Joining for those of machines that want to be one.
	Server(alpn ...string) *tls.Config
	Joining(alpn ...string) *tls.Config
	// Client is for connections to a member.
	Client(node string, alpn ...string) *tls.Config
	// Peer checks the certificate that the other end of a finished handshake showed: chain, time, usage,
	// revocation, membership.
	Peer(state tls.ConnectionState, usage x509.ExtKeyUsage) (identity.Peer, error)
}

// Limits bound what others can cost. Zero values mean the defaults.
type Limits struct {
	Handshake    time.Duration // for a handshake, either way; default 5s
	Pending      int           // handshakes at a time; one more ends the oldest; default 256
	ConnsPerPeer int           // incoming connections of one node; default 512
	Strangers    int           // connections without a certificate, which may only ask to join; default 32
	Queue        int           // accepted connections that wait for a protocol's handler; default 64
}

// Config is what a mesh needs.
type Config struct {
	Node        string
	Credentials Credentials
	// Resolve tells where a node listens; false: not known.
	Resolve func(node string) (address string, known bool)
	Limits  Limits
	Logger  hclog.Logger
}

// Mesh is a node's side of the cluster's connections. Make one with New, register protocols and
// handlers, then Serve.
type Mesh struct {
	cfg      Config
	log      *refusals
	listener net.Listener
	ctx      context.Context // ends with Close
	cancel   context.CancelFunc
	group    sync.WaitGroup

	mux    *http.ServeMux
	server *http.Server
	client *http.Client

	mu      sync.Mutex
	closed  bool
	layers  map[string]*Layer
	pending *list.List // of net.Conn in their handshakes, oldest first
	conns   map[*Conn]struct{}
	perPeer map[string]int // incoming connections by node
}

// New makes a mesh that listens already, and serves nothing before Serve. It takes the listener over.
func New(listener net.Listener, cfg Config) *Mesh {
	cfg.Limits = cfg.Limits.withDefaults()
	if cfg.Logger == nil {
		cfg.Logger = hclog.NewNullLogger()
	}
	m := &Mesh{
		cfg: cfg, log: newRefusals(cfg.Logger), listener: listener, mux: http.NewServeMux(),
		layers: map[string]*Layer{}, pending: list.New(), conns: map[*Conn]struct{}{}, perPeer: map[string]int{},
	}
	m.ctx, m.cancel = context.WithCancel(context.Background())
	m.server, m.client = m.newServer(), m.newClient()
	return m
}

func (l Limits) withDefaults() Limits {
	if l.Handshake == 0 {
		l.Handshake = 5 * time.Second
	}
	for limit, value := range map[*int]int{&l.Pending: 256, &l.ConnsPerPeer: 512, &l.Strangers: 32, &l.Queue: 64} {
		if *limit == 0 {
			*limit = value
		}
	}
	return l
}

// Addr is where the mesh listens.
func (m *Mesh) Addr() net.Addr { return m.listener.Addr() }

// Node is this node's name.
func (m *Mesh) Node() string { return m.cfg.Node }

// Serve accepts connections until Close. Protocols are registered before.
func (m *Mesh) Serve() error {
	rpc := m.Protocol(RPC)
	m.group.Go(func() { _ = m.server.Serve(rpc) }) // ends with the layer, at Close
	for delay := time.Duration(0); ; {
		conn, err := m.listener.Accept()
		if err != nil {
			if m.isClosed() {
				return nil
			}
			if errors.Is(err, net.ErrClosed) {
				return fmt.Errorf("cluster address %s: %w", m.Addr(), err)
			}
			// Out of descriptors, or a connection that was gone at once: neither is for ever.
			delay = min(max(2*delay, 5*time.Millisecond), time.Second)
			m.log.refuse("accept", "cannot accept a connection", "error", err)
			select {
			case <-time.After(delay):
			case <-m.ctx.Done():
			}
			continue
		}
		delay = 0
		m.accept(conn)
	}
}

// closeGrace is what requests of other nodes that are under way get at Close.
const closeGrace = time.Second

// Close ends every connection and returns when nothing of the mesh runs any more. Requests that are
// being answered get a moment to end.
func (m *Mesh) Close() error {
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return nil
	}
	m.closed = true
	m.mu.Unlock()
	err := m.listener.Close()
	ctx, cancel := context.WithTimeout(context.Background(), closeGrace)
	_ = m.server.Shutdown(ctx) // what has not ended is closed below
	cancel()
	m.cancel()
	_ = m.server.Close() // the connections are closed below, too
	m.client.CloseIdleConnections()
	m.mu.Lock()
	for _, layer := range m.layers {
		layer.end()
	}
	for e := m.pending.Front(); e != nil; e = e.Next() {
		_ = e.Value.(net.Conn).Close()
	}
	conns := m.list()
	m.mu.Unlock()
	for _, c := range conns {
		c.abort()
	}
	m.group.Wait()
	return err
}

// Recheck closes every connection whose peer is not to be believed any more. Call it when certificates
// are revoked and when a member is removed.
func (m *Mesh) Recheck() {
	m.mu.Lock()
	conns := m.list()
	m.mu.Unlock()
	for _, c := range conns {
		if c.Peer.Node == "" {
			continue
		}
		if _, err := m.cfg.Credentials.Peer(c.state, c.usage()); err != nil {
			m.log.refuse(c.Peer.Node, "closing a connection whose certificate is refused now", "node", c.Peer.Node, "error", err)
			c.abort()
		}
	}
}

func (m *Mesh) isClosed() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.closed
}

// list gives all connections; the lock is held.
func (m *Mesh) list() []*Conn {
	out := make([]*Conn, 0, len(m.conns))
	for c := range m.conns {
		out = append(out, c)
	}
	return out
}
