package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// Nodes are the names of a cluster's nodes.
var Nodes = []string{"n1", "n2", "n3"}

// Writer writes to one node of a cluster, over connections of its own.
type Writer interface {
	// Write commits a value under a key of the caller's own, again and again.
	Write(ctx context.Context, key string) error
	Close() error
}

// Cluster is three processes.
type Cluster interface {
	// Writer opens connections to a node.
	Writer(ctx context.Context, node string) (Writer, error)
	// Leader finds the node that leads; an error if there is none.
	Leader(ctx context.Context) (string, error)
	// Level reports whether all nodes are up to date.
	Level(ctx context.Context) bool
	// Kill ends a node's process without warning, Start runs it again on the same files.
	Kill(node string) error
	Start(node string) error
	Close() error
}

// ValueBytes is the size of what is written.
const ValueBytes = 1024

// processes are what both kinds of clusters have in common.
type processes struct {
	dir     string
	command func(node string) *exec.Cmd
	running map[string]*exec.Cmd
}

func (p *processes) dirOf(node string) string { return filepath.Join(p.dir, node) }

// Start implements Cluster.
func (p *processes) Start(node string) error {
	child := p.command(node)
	log, err := os.OpenFile(p.dirOf(node)+".log", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close() //nolint:errcheck // the child has its own
	child.Stdout, child.Stderr = log, log
	if err := child.Start(); err != nil {
		return fmt.Errorf("start %s: %w", node, err)
	}
	p.running[node] = child
	return nil
}

// Kill implements Cluster.
func (p *processes) Kill(node string) error {
	child := p.running[node]
	delete(p.running, node)
	if child == nil {
		return nil
	}
	if err := child.Process.Kill(); err != nil {
		return err
	}
	_ = child.Wait() // killed
	return nil
}

func (p *processes) killAll() error {
	var errs []error
	for _, node := range Nodes {
		errs = append(errs, p.Kill(node))
	}
	return errors.Join(errs...)
}

// freeAddresses finds an address for each node, which its process takes soon.
func freeAddresses() (map[string]string, error) {
	addresses := map[string]string{}
	var listeners []net.Listener // all at a time, so that none gets the same one
	defer func() {
		for _, listener := range listeners {
			_ = listener.Close()
		}
	}()
	for _, node := range Nodes {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		listeners = append(listeners, listener)
		addresses[node] = listener.Addr().String()
	}
	return addresses, nil
}

// prepare makes the certificates of a cluster and its load.
func prepare(dir string) error {
	a, err := newAuthority(dir)
	if err != nil {
		return err
	}
	for _, name := range append([]string{clientName}, Nodes...) {
		if err := errors.Join(a.issue(name), os.MkdirAll(filepath.Join(dir, name), 0o700)); err != nil {
			return err
		}
	}
	return nil
}

// patience is for how long a cluster may take to be ready.
const patience = time.Minute

// awaitReady waits until a cluster has a leader and all nodes follow.
func awaitReady(ctx context.Context, c Cluster) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		if _, err := c.Leader(ctx); err == nil && c.Level(ctx) {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.New("the cluster has not become ready")
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// AwaitLevel waits until all nodes are up to date.
func AwaitLevel(ctx context.Context, c Cluster) error { return awaitReady(ctx, c) }
