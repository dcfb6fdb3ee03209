package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/hashicorp/raft"

	"github.com/instarhq/instar/core/mesh"
	"github.com/instarhq/instar/raftstore"
	"github.com/instarhq/instar/raftstore/forward"
)

// nodeEnv makes this program a node instead of a benchmark.
const nodeEnv = "INSTAR_BENCH_NODE"

// raftProtocol is Raft's name in TLS.
const raftProtocol = "instar-raft/1"

// nodeConfig is what a process needs to be a node.
type nodeConfig struct {
	Dir, Node string
	Certs     string            // directory
	At        map[string]string // addresses by node
}

// Main runs a node if that is what this process is meant to be, and does not return then. Call it first.
func Main() {
	text := os.Getenv(nodeEnv)
	if text == "" {
		return
	}
	if err := runNode(text); err != nil {
		fmt.Fprintln(os.Stderr, "node:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// layer is a mesh protocol as Raft sees it. Addresses are names.
type layer struct{ *mesh.Layer }

// Dial implements raft.StreamLayer.
func (l layer) Dial(address raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	return l.Layer.Dial(string(address), timeout)
}

func runNode(text string) error {
	var config nodeConfig
	if err := json.Unmarshal([]byte(text), &config); err != nil {
		return err
	}
	m, err := newMesh(config, config.At[config.Node])
	if err != nil {
		return err
	}
	questions := m.Protocol(forward.Protocol)
	var voters []raft.Server
	for node := range config.At {
		voters = append(voters, raft.Server{ID: raft.ServerID(node), Address: raft.ServerAddress(node)})
	}
	store, err := raftstore.Open(context.Background(), raftstore.Config{
		Dir: config.Dir, Node: config.Node, Voters: voters,
		Transport: raftstore.NewTransport(layer{m.Protocol(raftProtocol)}, nil), Forward: newForwarder(m),
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	go serve(ctx, questions, &forward.Server{Handler: store.Handler()})
	served := make(chan error, 1)
	go func() { served <- m.Serve() }()
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGTERM)
	select {
	case err = <-store.Failed():
	case err = <-served:
	case <-ended:
	}
	cancel()
	return errors.Join(err, store.Close(), m.Close())
}

func newMesh(config nodeConfig, address string) (*mesh.Mesh, error) {
	credentials, err := loadCredentials(config.Certs, config.Node)
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	return mesh.New(listener, mesh.Config{Node: config.Node, Credentials: credentials, Resolve: func(node string) (string, bool) {
		at, ok := config.At[node]
		return at, ok
	}}), nil
}

func newForwarder(m *mesh.Mesh) *forward.Client {
	return forward.NewClient(func(ctx context.Context, to forward.Peer) (net.Conn, error) {
		return m.Dial(ctx, to.Node, forward.Protocol)
	}, nil)
}

func serve(ctx context.Context, listener net.Listener, server *forward.Server) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		go func() { _ = server.Serve(ctx, conn, conn.(*mesh.Conn).Peer.Node) }() // ends with the connection
	}
}
