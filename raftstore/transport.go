package raftstore

import (
	"errors"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

// Figures of the transport. An answer of a node whose disk is slow is worth waiting for; a connection that
// takes no byte at all is not, and neither is a node that does not even accept one.
const (
	rpcPatience    = 5 * time.Second  // for one request and its answer; a snapshot has as much per snapshotSlice
	writePatience  = 10 * time.Second // for one write of a snapshot's transfer
	dialPatience   = 3 * time.Second
	snapshotSlice  = 4 << 20
	connectionPool = 3 // idle connections per peer
)

// keepAlive finds peers that vanished without a word while nothing is written: a follower that waits for
// the rest of a snapshot cannot vote meanwhile.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: 5 * time.Second, Count: 3}

// NewTransport makes a transport for Config of a layer that opens and accepts connections; the transport
// closes the layer. Authentication is the layer's: whoever gets a connection through it is believed to be
// a member.
func NewTransport(layer raft.StreamLayer, logger hclog.Logger) raft.Transport {
	if logger == nil {
		logger = hclog.NewNullLogger()
	}
	transport := raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
		Stream: &boundedLayer{StreamLayer: layer}, MaxPool: connectionPool, Timeout: rpcPatience,
		Logger: calm(logger.Named("transport")), MsgpackUseNewTimeFormat: true,
	})
	transport.TimeoutScale = snapshotSlice
	return transport
}

// boundedLayer bounds what the layer's connections may take, and ends them all when it is closed: Raft
// would wait for those whose peer is silent.
type boundedLayer struct {
	raft.StreamLayer

	mu     sync.Mutex
	closed bool
	open   map[*boundedConn]struct{}
}

// Accept implements net.Listener.
func (l *boundedLayer) Accept() (net.Conn, error) {
	conn, err := l.StreamLayer.Accept()
	if err != nil {
		return nil, err
	}
	return l.bound(conn)
}

// Dial implements raft.StreamLayer.
func (l *boundedLayer) Dial(address raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	conn, err := l.StreamLayer.Dial(address, min(timeout, dialPatience))
	if err != nil {
		return nil, err
	}
	return l.bound(conn)
}

// Close implements net.Listener.
func (l *boundedLayer) Close() error {
	err := l.StreamLayer.Close()
	l.mu.Lock()
	l.closed = true
	open := l.open
	l.open = nil
	l.mu.Unlock()
	for conn := range open {
		_ = conn.Conn.Close() // whoever uses it finds out
	}
	return err
}

func (l *boundedLayer) bound(conn net.Conn) (net.Conn, error) {
	if tcp, ok := underlying(conn).(*net.TCPConn); ok {
		_ = tcp.SetKeepAliveConfig(keepAlive) // a connection that has ended says so at its first use
	}
	c := &boundedConn{Conn: conn, layer: l}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, errors.Join(net.ErrClosed, conn.Close())
	}
	if l.open == nil {
		l.open = make(map[*boundedConn]struct{})
	}
	l.open[c] = struct{}{}
	return c, nil
}

// underlying looks through TLS.
func underlying(conn net.Conn) net.Conn {
	for {
		inner, ok := conn.(interface{ NetConn() net.Conn })
		if !ok {
			return conn
		}
		conn = inner.NetConn()
	}
}

// boundedConn bounds every single write. Raft sets one deadline for the transfer of a whole snapshot,
// which may be hours; a peer that has vanished in the middle would be waited for as long.
type boundedConn struct {
	net.Conn
	layer *boundedLayer
	until time.Time // Raft's deadline; zero: none. Used by the one goroutine that owns the connection
}

// Close implements net.Conn.
func (c *boundedConn) Close() error {
	c.layer.mu.Lock()
	delete(c.layer.open, c)
	c.layer.mu.Unlock()
	return c.Conn.Close()
}

// SetDeadline implements net.Conn.
func (c *boundedConn) SetDeadline(until time.Time) error {
	c.until = until
	return c.Conn.SetDeadline(until)
}

// SetWriteDeadline implements net.Conn.
func (c *boundedConn) SetWriteDeadline(until time.Time) error {
	c.until = until
	return c.Conn.SetWriteDeadline(until)
}

// Write implements net.Conn.
func (c *boundedConn) Write(data []byte) (int, error) {
	soon := time.Now().Add(writePatience)
	if !c.until.IsZero() && c.until.Before(soon) {
		return c.Conn.Write(data)
	}
	if err := c.Conn.SetWriteDeadline(soon); err != nil {
		return 0, err
	}
	return c.Conn.Write(data)
}

// quietTransport keeps Raft from handling heartbeats outside of its main loop. An idle leader that gets
// one of a newer term would stamp its next entry with that term, and a follower could then accept an
// entry that no leader of the term wrote (hashicorp/raft#695). Without the handler heartbeats queue with
// everything else, which costs nothing that could be measured. Its pipelines need nobody to take their answers.
type quietTransport struct{ raft.Transport }

// AppendEntriesPipeline implements raft.Transport.
func (t quietTransport) AppendEntriesPipeline(id raft.ServerID, target raft.ServerAddress) (raft.AppendPipeline, error) {
	p, err := t.Transport.AppendEntriesPipeline(id, target)
	if err != nil {
		return nil, err
	}
	return newDrainedPipeline(p), nil
}

// SetHeartbeatHandler implements raft.Transport by not doing it.
func (quietTransport) SetHeartbeatHandler(func(raft.RPC)) {}

// quietPreVoteTransport is a quietTransport that can ask for pre-votes; Raft looks for the method.
type quietPreVoteTransport struct {
	quietTransport
	raft.WithPreVote
}

func quiet(t raft.Transport) raft.Transport {
	if preVote, ok := t.(raft.WithPreVote); ok {
		return quietPreVoteTransport{quietTransport{t}, preVote}
	}
	return quietTransport{t}
}

func closeTransport(t raft.Transport) error {
	if c, ok := t.(raft.WithClose); ok {
		return c.Close()
	}
	return nil
}
