package mesh

import (
	"crypto/tls"
	"crypto/x509"
	"sync"
)

// Conn is a connection with a known peer. It is a net.Conn.
type Conn struct {
	*tls.Conn
	Peer Peer

	mesh     *Mesh
	state    tls.ConnectionState
	incoming bool
	once     sync.Once
}

// usage is what the peer's certificate must be good for.
func (c *Conn) usage() x509.ExtKeyUsage {
	if c.incoming {
		return x509.ExtKeyUsageClientAuth
	}
	return x509.ExtKeyUsageServerAuth
}

// Close ends the connection.
func (c *Conn) Close() error {
	c.forget()
	return c.Conn.Close()
}

// abort ends the connection at once, whatever is being written to it.
func (c *Conn) abort() {
	c.forget()
	_ = c.NetConn().Close() // nobody is told: whoever uses it finds out
}

// add makes a connection one that is counted and rechecked; the lock is held.
func (m *Mesh) add(c *Conn) {
	m.conns[c] = struct{}{}
	if c.incoming {
		m.perPeer[c.Peer.Node]++
	}
}

func (c *Conn) forget() {
	c.once.Do(func() {
		m := c.mesh
		m.mu.Lock()
		defer m.mu.Unlock()
		if _, there := m.conns[c]; !there {
			return
		}
		delete(m.conns, c)
		if !c.incoming {
			return
		}
		if m.perPeer[c.Peer.Node]--; m.perPeer[c.Peer.Node] == 0 {
			delete(m.perPeer, c.Peer.Node)
		}
	})
}
