package raftstore

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/instarhq/instar/raftstore/forward"
)

// network connects test nodes over loopback TCP and can break each direction between two of them.
type network struct {
	mu      sync.Mutex
	changed chan struct{}
	blocked map[way]bool
	delay   map[way]time.Duration
	raft    map[string]string // node: address of its Raft listener
	forward map[string]string
}

type way struct{ from, to string }

func newNetwork() *network {
	return &network{
		changed: make(chan struct{}), blocked: map[way]bool{}, delay: map[way]time.Duration{},
		raft: map[string]string{}, forward: map[string]string{},
	}
}

func (n *network) set(change func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	change()
	close(n.changed)
	n.changed = make(chan struct{})
}

// cut keeps what from sends to to from arriving; what is on its way waits, as with TCP.
func (n *network) cut(from, to string) { n.set(func() { n.blocked[way{from, to}] = true }) }

func (n *network) heal() { n.set(func() { clear(n.blocked); clear(n.delay) }) }

func (n *network) slow(from, to string, by time.Duration) {
	n.set(func() { n.delay[way{from, to}] = by })
}

func (n *network) state(w way) (blocked bool, delay time.Duration, changed <-chan struct{}) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.blocked[w], n.delay[w], n.changed
}

// pass waits until something may go this way.
func (n *network) pass(w way, deadline time.Time, closed <-chan struct{}) error {
	for {
		blocked, delay, changed := n.state(w)
		if !blocked && delay == 0 {
			return nil
		}
		var expired, slept <-chan time.Time
		if !deadline.IsZero() {
			expired = time.After(time.Until(deadline))
		}
		if !blocked {
			slept = time.After(delay)
		}
		select {
		case <-changed:
		case <-slept:
			return nil
		case <-expired:
			return os.ErrDeadlineExceeded
		case <-closed:
			return net.ErrClosed
		}
	}
}

func (n *network) dial(ctx context.Context, w way, address string) (net.Conn, error) {
	deadline, _ := ctx.Deadline()
	for _, direction := range []way{w, {w.to, w.from}} {
		if err := n.pass(direction, deadline, ctx.Done()); err != nil {
			return nil, err
		}
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	if _, err := fmt.Fprintln(conn, w.from); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return n.wrap(conn, w), nil
}

func (n *network) wrap(conn net.Conn, w way) *faultyConn {
	return &faultyConn{Conn: conn, network: n, way: w, closed: make(chan struct{})}
}

// accepted reads who has dialed.
func (n *network) accepted(conn net.Conn, node string) (*faultyConn, string, error) {
	in := bufio.NewReaderSize(&oneByte{conn}, 16)
	peer, err := in.ReadString('\n')
	if err != nil {
		return nil, "", errors.Join(err, conn.Close())
	}
	peer = strings.TrimSpace(peer)
	return n.wrap(conn, way{node, peer}), peer, nil
}

// oneByte keeps a buffered reader from reading more than the line.
type oneByte struct{ net.Conn }

func (o *oneByte) Read(data []byte) (int, error) { return o.Conn.Read(data[:1]) }

type faultyConn struct {
	net.Conn
	network *network
	way     way
	once    sync.Once
	closed  chan struct{}

	mu       sync.Mutex
	deadline time.Time
}

func (c *faultyConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

func (c *faultyConn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetWriteDeadline(t), c.SetReadDeadline(t))
}

func (c *faultyConn) SetWriteDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deadline = t
	return c.Conn.SetWriteDeadline(t)
}

func (c *faultyConn) Write(data []byte) (int, error) {
	c.mu.Lock()
	deadline := c.deadline
	c.mu.Unlock()
	if err := c.network.pass(c.way, deadline, c.closed); err != nil {
		return 0, err
	}
	return c.Conn.Write(data)
}

// layer is a node's raft.StreamLayer.
type layer struct {
	net.Listener
	network *network
	node    string
}

func (l *layer) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if wrapped, _, err := l.network.accepted(conn, l.node); err == nil {
			return wrapped, nil
		}
	}
}

func (l *layer) Dial(address raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	return l.network.dial(ctx, way{l.node, l.network.owner(string(address))}, string(address))
}

func (n *network) owner(address string) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	for node, at := range n.raft {
		if at == address {
			return node
		}
	}
	return "nobody"
}

// listen opens both of a node's listeners; a node that comes again keeps its addresses unless moved.
func (n *network) listen(t *testing.T, node string, moved bool) (*layer, net.Listener) {
	t.Helper()
	open := func(addresses map[string]string) net.Listener {
		n.mu.Lock()
		defer n.mu.Unlock()
		address, ok := addresses[node]
		if !ok || moved {
			address = "127.0.0.1:0"
		}
		listener, err := net.Listen("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		addresses[node] = listener.Addr().String()
		return listener
	}
	return &layer{Listener: open(n.raft), network: n, node: node}, open(n.forward)
}

func (n *network) client(node string) *forward.Client {
	return forward.NewClient(func(ctx context.Context, to forward.Peer) (net.Conn, error) {
		n.mu.Lock()
		address := n.forward[to.Node]
		n.mu.Unlock()
		return n.dial(ctx, way{node, to.Node}, address)
	}, nil)
}

// serve answers on a node's forward listener until it is closed.
func (n *network) serve(listener net.Listener, node string, server *forward.Server) (wait func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var group sync.WaitGroup
	group.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				cancel()
				return
			}
			group.Go(func() {
				wrapped, peer, err := n.accepted(conn, node)
				if err == nil {
					_ = server.Serve(ctx, wrapped, peer) // ends with the connection
				}
			})
		}
	})
	return group.Wait
}
