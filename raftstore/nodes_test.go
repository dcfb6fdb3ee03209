package raftstore

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/raftstore/forward"
)

// nodes are stores that speak over loopback TCP, forwarding included.
type nodes struct {
	t       *testing.T
	network *network
	names   []string
	running map[string]*node
	dirs    map[string]string
	tune    func(*Config)
}

type node struct {
	*Store
	listener net.Listener
	served   func()
}

func newNodes(t *testing.T, size int, tune func(*Config)) *nodes {
	t.Helper()
	c := &nodes{t: t, network: newNetwork(), running: map[string]*node{}, dirs: map[string]string{}, tune: tune}
	layers := map[string]*layer{}
	listeners := map[string]net.Listener{}
	var voters []raft.Server
	for i := range size {
		n := name(i)
		c.names = append(c.names, n)
		layers[n], listeners[n] = c.network.listen(t, n, false)
		voters = append(voters, raft.Server{ID: raft.ServerID(n), Address: raft.ServerAddress(layers[n].Addr().String())})
	}
	for _, n := range c.names {
		c.open(n, layers[n], listeners[n], Config{Voters: voters})
	}
	t.Cleanup(func() { // as Close takes its time when others are gone
		c.network.heal()
		for n := range c.running {
			c.stop(n)
		}
	})
	return c
}

func (c *nodes) open(name string, layer *layer, listener net.Listener, config Config) {
	c.t.Helper()
	c.running[name] = c.make(name, layer, listener, config)
}

func (c *nodes) make(name string, layer *layer, listener net.Listener, config Config) *node {
	c.t.Helper()
	if c.dirs[name] == "" {
		c.dirs[name] = c.t.TempDir()
	}
	config.Dir, config.Node, config.Cluster = c.dirs[name], name, "several"
	config.Transport, config.Forward = NewTransport(layer, nil), c.network.client(name)
	config.segmentBytes = 1 << 20
	if c.tune != nil {
		c.tune(&config)
	}
	store, err := Open(c.t.Context(), config)
	if err != nil {
		c.t.Fatal(err)
	}
	n := &node{Store: store, listener: listener}
	n.served = c.network.serve(listener, name, &forward.Server{Handler: store.Handler()})
	return n
}

// start starts a node that was stopped, or a new one, which waits to be added.
func (c *nodes) start(name string, moved bool) *node {
	c.t.Helper()
	layer, listener := c.network.listen(c.t, name, moved)
	c.open(name, layer, listener, Config{Join: true})
	return c.running[name]
}

func (c *nodes) stop(name string) {
	c.t.Helper()
	n := c.running[name]
	delete(c.running, name)
	c.end(name, n)
}

func (c *nodes) end(name string, n *node) {
	c.t.Helper()
	_ = n.listener.Close()
	if err := n.Close(); err != nil {
		c.t.Errorf("close %s: %v", name, err)
	}
	n.served()
}

// isolate takes a node off the network.
func (c *nodes) isolate(name string) {
	for other := range c.network.raft {
		if other != name {
			c.network.cut(name, other)
			c.network.cut(other, name)
		}
	}
}

func (c *nodes) leader(not ...string) (leader *node) {
	c.t.Helper()
	eventually(c.t, "there is a leader", func() bool {
	search:
		for name, n := range c.running {
			for _, no := range not {
				if name == no {
					continue search
				}
			}
			if n.IsLeader() {
				leader = n
				return true
			}
		}
		return false
	})
	return leader
}

func (c *nodes) follower() (follower *node) {
	c.t.Helper()
	leader := c.leader()
	eventually(c.t, "there is a follower", func() bool {
		for _, n := range c.running {
			if n.Leader() == leader.Node() && n != leader {
				follower = n
				return true
			}
		}
		return false
	})
	return follower
}

func (c *nodes) write(n *node, id string) core.Receipt {
	c.t.Helper()
	var receipt core.Receipt
	eventually(c.t, "the write "+id+" is committed", func() bool {
		ctx, cancel := context.WithTimeout(c.t.Context(), 5*time.Second)
		defer cancel()
		var err error
		receipt, err = n.Propose(ctx, writeTxn(id, "x"))
		if err != nil && !core.Retryable(err) {
			c.t.Fatal(err)
		}
		return err == nil
	})
	return receipt
}

// agree waits until all nodes are as far as the leader, and checks that they have one root.
func (c *nodes) agree() core.TreeHead {
	c.t.Helper()
	seq, err := c.leader().ReadIndex(c.t.Context())
	if err != nil {
		c.t.Fatal(err)
	}
	want, err := c.leader().HeadAt(c.t.Context(), seq)
	if err != nil {
		c.t.Fatal(err)
	}
	for name, n := range c.running {
		eventually(c.t, name+" has caught up", func() bool { return n.Seq() >= seq })
		if got, err := n.HeadAt(c.t.Context(), seq); err != nil || got != want {
			c.t.Errorf("%s has %+v, %v; want %+v", name, got, err, want)
		}
		if err := n.Verify(c.t.Context()); err != nil {
			c.t.Error(err)
		}
	}
	return want
}
