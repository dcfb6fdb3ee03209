package mesh

import (
	"context"
	"crypto/tls"
	"net"
	"slices"
	"time"

	"github.com/instarhq/instar/core"
)

// accept shakes hands with a new connection in the background. Whoever does not finish the handshake
// holds one of few places, and the one who holds it longest loses it to the next who comes: a member is
// done in milliseconds, however many others only connect.
func (m *Mesh) accept(raw net.Conn) {
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		_ = raw.Close()
		return
	}
	var oldest net.Conn
	if m.pending.Len() >= m.cfg.Limits.Pending {
		oldest = m.pending.Remove(m.pending.Front()).(net.Conn)
	}
	place := m.pending.PushBack(raw)
	m.group.Go(func() {
		conn, err := m.handshake(raw)
		m.mu.Lock()
		m.pending.Remove(place) // does nothing if another has it by now
		m.mu.Unlock()
		if err != nil {
			_ = raw.Close()
			if m.ctx.Err() == nil {
				m.log.refuse(host(raw), "refused a connection", "from", raw.RemoteAddr(), "error", err)
			}
			return
		}
		m.hand(conn)
	})
	m.mu.Unlock()
	if oldest != nil {
		_ = oldest.Close()
		m.log.refuse("pending", "too many connections do not finish their handshake, closing the oldest", "from", oldest.RemoteAddr())
	}
}

// handshake makes sure of the peer of an incoming connection.
func (m *Mesh) handshake(raw net.Conn) (*Conn, error) {
	tune(raw)
	ctx, cancel := context.WithTimeout(m.ctx, m.cfg.Limits.Handshake)
	defer cancel()
	conn := tls.Server(raw, &tls.Config{MinVersion: tls.VersionTLS13, GetConfigForClient: m.serverFor})
	if err := conn.HandshakeContext(ctx); err != nil {
		return nil, err
	}
	c := &Conn{Conn: conn, mesh: m, state: conn.ConnectionState(), incoming: true}
	if c.state.NegotiatedProtocol == Join {
		return c, nil // whoever it is: the token says it
	}
	peer, err := m.cfg.Credentials.Peer(c.state, c.usage())
	if err != nil {
		return nil, err
	}
	c.Peer = Peer{Node: peer.Node, Certificate: c.state.PeerCertificates[0]}
	return c, nil
}

// serverFor chooses what the other end must show by what it wants to speak.
func (m *Mesh) serverFor(hello *tls.ClientHelloInfo) (*tls.Config, error) {
	protocols := m.protocols()
	if slices.Contains(hello.SupportedProtos, Join) {
		if !slices.Contains(protocols, Join) {
			return nil, core.Errorf(core.CodeUnsupported, "nobody can join here")
		}
		return m.cfg.Credentials.Joining(Join), nil
	}
	protocols = slices.DeleteFunc(protocols, func(name string) bool { return name == Join })
	return m.cfg.Credentials.Server(protocols...), nil
}

// hand gives a connection to its protocol.
func (m *Mesh) hand(c *Conn) {
	protocol := c.state.NegotiatedProtocol
	m.mu.Lock()
	layer, known := m.layers[protocol]
	limit := m.cfg.Limits.ConnsPerPeer
	if c.Peer.Node == "" {
		limit = m.cfg.Limits.Strangers
	}
	full := m.perPeer[c.Peer.Node] >= limit
	if known && !full && !m.closed {
		m.add(c)
	}
	closed := m.closed
	m.mu.Unlock()
	switch {
	case closed:
		_ = c.NetConn().Close()
		return
	case !known:
		m.log.refuse(host(c), "refused a connection of an unknown protocol", "from", c.RemoteAddr(), "protocol", protocol)
		_ = c.NetConn().Close()
		return
	case full:
		m.log.refuse(host(c), "refused a connection: the peer has too many", "from", c.RemoteAddr(), "node", c.Peer.Node, "connections", limit)
		_ = c.NetConn().Close()
		return
	}
	patience := time.NewTimer(m.cfg.Limits.Handshake)
	defer patience.Stop()
	select {
	case layer.queue <- c:
		select {
		case <-layer.ended:
			layer.end() // it may have looked into the queue before
		default:
		}
	case <-layer.ended:
		_ = c.Close()
	case <-patience.C:
		m.log.refuse("queue "+protocol, "nobody takes connections of a protocol", "protocol", protocol)
		_ = c.Close()
	}
}

// protocols are the names of all registered protocols.
func (m *Mesh) protocols() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	names := make([]string, 0, len(m.layers))
	for name := range m.layers {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func host(c net.Conn) string {
	address := c.RemoteAddr().String()
	if h, _, err := net.SplitHostPort(address); err == nil {
		return h
	}
	return address
}
