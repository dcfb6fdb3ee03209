package mesh

import (
	"context"
	"crypto/tls"
	"errors"
	"net"

	"github.com/instarhq/instar/core"
)

// Dial connects to a node for a protocol. The connection is the caller's to close; it breaks when the
// peer is not to be believed any more, and with the mesh.
func (m *Mesh) Dial(ctx context.Context, node, protocol string) (*Conn, error) {
	address, known := m.cfg.Resolve(node)
	if !known {
		return nil, core.Errorf(core.CodeUnavailable, "node %q is not known here: it has no address", node).WithObject(core.KindMember, node)
	}
	return m.DialAddress(ctx, address, node, protocol)
}

// DialAddress is Dial for a node whose address the caller knows.
func (m *Mesh) DialAddress(ctx context.Context, address, node, protocol string) (*Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, m.cfg.Limits.Handshake)
	defer cancel()
	stop := context.AfterFunc(m.ctx, cancel)
	defer stop()
	raw, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, unreachable(node, address, err)
	}
	c, err := m.greet(ctx, raw, node, protocol)
	if err != nil {
		_ = raw.Close()
		return nil, unreachable(node, address, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		_ = raw.Close()
		return nil, unreachable(node, address, net.ErrClosed)
	}
	m.add(c)
	return c, nil
}

// greet makes sure that the other end is the node that was meant, and speaks the protocol.
func (m *Mesh) greet(ctx context.Context, raw net.Conn, node, protocol string) (*Conn, error) {
	tune(raw)
	conn := tls.Client(raw, m.cfg.Credentials.Client(node, protocol))
	if err := conn.HandshakeContext(ctx); err != nil {
		return nil, err
	}
	state := conn.ConnectionState()
	if state.NegotiatedProtocol != protocol {
		return nil, core.Errorf(core.CodeUnsupported, "it does not speak %s", protocol)
	}
	c := &Conn{Conn: conn, mesh: m, state: state}
	found, err := m.cfg.Credentials.Peer(state, c.usage())
	if err != nil {
		return nil, err
	}
	c.Peer = Peer{Node: found.Node, Certificate: state.PeerCertificates[0]}
	if found.Node != node {
		return nil, core.Errorf(core.CodeDenied, "node %q answers there", found.Node).
			WithHint("two nodes may have the same address: see instar cluster status")
	}
	return c, nil
}

// unreachable says that a node cannot be reached. A refusal for its identity keeps its code.
func unreachable(node, address string, err error) error {
	code := core.CodeUnavailable
	if e, ok := core.AsError(err); ok && !errors.Is(err, net.ErrClosed) {
		code = e.Code
	}
	return core.Errorf(code, "node %q at %s cannot be reached: %w", node, address, err).WithObject(core.KindMember, node)
}
