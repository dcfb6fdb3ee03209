package mesh

import (
	"context"
	"net"
	"sync"
	"time"
)

// Layer is one protocol of the mesh: a net.Listener for the connections that others make, and Dial for
// one's own. Its address is the node's name.
type Layer struct {
	mesh     *Mesh
	protocol string
	queue    chan *Conn
	ended    chan struct{}
	once     sync.Once
}

// Protocol registers a protocol, or gives the one that is registered.
func (m *Mesh) Protocol(name string) *Layer {
	m.mu.Lock()
	defer m.mu.Unlock()
	if l, ok := m.layers[name]; ok {
		return l
	}
	l := &Layer{mesh: m, protocol: name, queue: make(chan *Conn, m.cfg.Limits.Queue), ended: make(chan struct{})}
	m.layers[name] = l
	if m.closed {
		l.end()
	}
	return l
}

// Accept implements net.Listener; what it returns is a *Conn.
func (l *Layer) Accept() (net.Conn, error) {
	select {
	case <-l.ended:
		return nil, net.ErrClosed
	default:
	}
	select {
	case c := <-l.queue:
		return c, nil
	case <-l.ended:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener: the protocol is not offered any more. Connections that exist stay.
func (l *Layer) Close() error {
	l.mesh.mu.Lock()
	defer l.mesh.mu.Unlock()
	if l.mesh.layers[l.protocol] == l {
		delete(l.mesh.layers, l.protocol)
	}
	l.end()
	return nil
}

func (l *Layer) end() {
	l.once.Do(func() { close(l.ended) })
	for {
		select {
		case c := <-l.queue:
			go c.abort() // takes the mesh's lock, which the caller may hold
		default:
			return
		}
	}
}

// Addr implements net.Listener.
func (l *Layer) Addr() net.Addr { return nodeAddr(l.mesh.cfg.Node) }

// Dial connects to a node by its name.
func (l *Layer) Dial(node string, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(l.mesh.ctx, timeout)
	defer cancel()
	return l.mesh.Dial(ctx, node, l.protocol)
}

// DialContext connects to a node by its name.
func (l *Layer) DialContext(ctx context.Context, node string) (net.Conn, error) {
	return l.mesh.Dial(ctx, node, l.protocol)
}

// nodeAddr is a node's name as an address.
type nodeAddr string

// Network implements net.Addr.
func (nodeAddr) Network() string { return "instar" }

// String implements net.Addr.
func (a nodeAddr) String() string { return string(a) }
