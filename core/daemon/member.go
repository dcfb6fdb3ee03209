package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/cluster"
	"github.com/instarhq/instar/core/identity/keeper"
	"github.com/instarhq/instar/core/mesh"
	"github.com/instarhq/instar/raftstore"
	"github.com/instarhq/instar/raftstore/forward"
)

// member is what a node of a cluster of several has besides.
type member struct {
	node      string
	address   string // where other members reach this node
	log       hclog.Logger
	keeper    *keeper.Keeper
	book      *cluster.Book
	mesh      *mesh.Mesh
	cluster   *cluster.Cluster
	raft      *mesh.Layer
	propose   *mesh.Layer
	forwarder *forward.Client

	setup    *setup
	choosing sync.Mutex // held while the node becomes a member

	mu      sync.Mutex
	record  *cluster.Record // nil: no member of anything yet
	waiting string          // what the node waits for; empty: it is ready
	founded chan founding   // the outcome of a cluster that begins here

	restored chan core.Receipt // of a restore with which a cluster begins here
}

// founding is how the beginning of a cluster has gone.
type founding struct {
	joined core.Joined
	err    error
}

// openMember reads what the node knows of its membership, and takes the cluster address.
func (d *Daemon) openMember(ctx context.Context) error {
	record, err := cluster.LoadRecord(d.cfg.DataDir)
	if err != nil {
		return err
	}
	if record != nil {
		if err := record.Check(d.cfg.Node, d.cfg.Cluster); err != nil {
			return err
		}
	}
	m := &member{
		node: d.cfg.Node, log: d.log, record: record, book: cluster.NewBook(record), waiting: "its start",
		founded: make(chan founding, 1), restored: make(chan core.Receipt, 1),
	}
	if m.keeper, err = keeper.Open(cluster.IdentityDir(d.cfg.DataDir)); err != nil {
		return err
	}
	m.keeper.SetCheck(m.book.Check)
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", d.cfg.Membership.Listen)
	if err != nil {
		return fmt.Errorf("cluster address: %w", err)
	}
	if m.address, err = advertised(d.cfg.Membership.Advertise, listener.Addr()); err != nil {
		return errors.Join(err, listener.Close())
	}
	m.mesh = mesh.New(listener, mesh.Config{
		Node: d.cfg.Node, Credentials: m.keeper, Resolve: m.resolve, Logger: d.log.Named("mesh"),
	})
	m.raft, m.propose = m.mesh.Protocol(mesh.Raft), m.mesh.Protocol(mesh.Propose)
	d.member, d.mesh = m, m.mesh
	return nil
}

// advertised is where others reach a listener. A port that the system has chosen is taken from it.
func advertised(configured string, listener net.Addr) (string, error) {
	if configured == "" {
		return listener.String(), nil
	}
	host, port, err := net.SplitHostPort(configured)
	if err != nil {
		return "", fmt.Errorf("cluster address: %w", err)
	}
	if port == "0" {
		if _, port, err = net.SplitHostPort(listener.String()); err != nil {
			return "", fmt.Errorf("cluster address: %w", err)
		}
	}
	return net.JoinHostPort(host, port), nil
}

// resolve knows this node's own address better than the store.
func (m *member) resolve(node string) (string, bool) {
	if node == m.node {
		return m.address, true
	}
	return m.book.Resolve(node)
}

// store sets what the store of a member needs.
func (m *member) store(config *raftstore.Config) {
	m.mu.Lock()
	defer m.mu.Unlock()
	config.Transport = raftstore.NewTransport(raftLayer{m.raft}, config.Logger)
	m.forwarder = forward.NewClient(func(ctx context.Context, to forward.Peer) (net.Conn, error) {
		return m.propose.DialContext(ctx, to.Node)
	}, config.Logger)
	config.Forward = m.forwarder
	if m.record != nil {
		config.Cluster = m.record.Name
		config.Join = m.record.Phase == cluster.PhaseMember
	}
}

// raftLayer is the mesh's protocol for Raft. A node's address in Raft is its name: where it is the mesh
// knows, so a node that moves changes nothing in Raft's configuration.
type raftLayer struct{ *mesh.Layer }

// Dial implements raft.StreamLayer.
func (l raftLayer) Dial(node raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	return l.Layer.Dial(string(node), timeout)
}

// serveMesh begins to answer other members.
func (d *Daemon) serveMesh() {
	m := d.member
	server := &forward.Server{Handler: d.store.Handler(), Authorize: cluster.Authorize, Logger: d.log.Named("forward")}
	go func() { // until the mesh is closed, after everything that uses it
		if err := m.mesh.Serve(); err != nil {
			d.cancel(err)
		}
	}()
	d.background("forwarding", func(ctx context.Context) error { return acceptAll(ctx, m.propose, server) })
}

// acceptAll serves what other nodes ask the store.
func acceptAll(ctx context.Context, layer *mesh.Layer, server *forward.Server) error {
	var group sync.WaitGroup
	defer group.Wait()
	stop := context.AfterFunc(ctx, func() { _ = layer.Close() })
	defer stop()
	for {
		conn, err := layer.Accept()
		if err != nil {
			return err
		}
		peer := conn.(*mesh.Conn).Peer.Node
		group.Go(func() {
			if err := server.Serve(ctx, conn, peer); err != nil && ctx.Err() == nil {
				server.Logger.Debug("connection ended", "node", peer, "error", err)
			}
		})
	}
}

func (m *member) close() error { return m.mesh.Close() }

func (m *member) wait(what string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.waiting = what
}

func (m *member) waits() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.waiting
}

// Member reports whether the node takes part in a cluster of several.
func (d *Daemon) Member() bool { return d.member != nil }

// ClusterAddress is where other members reach this node; empty if none do.
func (d *Daemon) ClusterAddress() string {
	if d.member == nil {
		return ""
	}
	return d.member.address
}
