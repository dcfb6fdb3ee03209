package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"sync"
	"time"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/audit"
	"github.com/instarhq/instar/core/mesh"
	"github.com/instarhq/instar/raftstore/forward"
)

// instar is a cluster of this program's own processes.
type instar struct {
	processes
	config nodeConfig
	mesh   *mesh.Mesh // the load's
	client *forward.Client
}

// StartInstar starts three nodes with files under dir.
func StartInstar(ctx context.Context, dir string) (Cluster, error) {
	if err := prepare(dir); err != nil {
		return nil, err
	}
	at, err := freeAddresses()
	if err != nil {
		return nil, err
	}
	c := &instar{config: nodeConfig{Certs: dir, At: at}, processes: processes{dir: dir, running: map[string]*exec.Cmd{}}}
	c.command = c.node
	load := c.config
	load.Node = clientName
	if c.mesh, err = newMesh(load, "127.0.0.1:0"); err != nil {
		return nil, err
	}
	go c.mesh.Serve() //nolint:errcheck // nobody connects to the load
	c.client = newForwarder(c.mesh)
	for _, node := range Nodes {
		if err := c.Start(node); err != nil {
			return nil, errors.Join(err, c.Close())
		}
	}
	if err := awaitReady(ctx, c); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

func (c *instar) node(node string) *exec.Cmd {
	config := c.config
	config.Node, config.Dir = node, c.dirOf(node)
	text, err := json.Marshal(config)
	if err != nil {
		panic(err) // strings only
	}
	program, err := os.Executable()
	if err != nil {
		program = os.Args[0]
	}
	child := exec.Command(program)
	child.Env = append(os.Environ(), nodeEnv+"="+string(text))
	return child
}

// Writer implements Cluster.
func (c *instar) Writer(_ context.Context, node string) (Writer, error) {
	return &instarWriter{client: newForwarder(c.mesh), to: forward.Peer{Node: node, Address: node}, seen: map[string]uint64{}}, nil
}

// progress asks all nodes how far they are.
func (c *instar) progress(ctx context.Context) []forward.Progress {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	var all []forward.Progress
	for _, node := range Nodes {
		if c.running[node] == nil {
			continue
		}
		if p, err := c.client.Progress(ctx, forward.Peer{Node: node, Address: node}); err == nil {
			all = append(all, p)
		}
	}
	return all
}

// Leader implements Cluster.
func (c *instar) Leader(ctx context.Context) (string, error) {
	for _, p := range c.progress(ctx) {
		if p.Leader == p.Node {
			return p.Node, nil
		}
	}
	return "", errors.New("there is no leader")
}

// Level implements Cluster.
func (c *instar) Level(ctx context.Context) bool {
	all := c.progress(ctx)
	for _, p := range all {
		if p.Applied < all[0].Committed || p.Leader == "" {
			return false
		}
	}
	return len(all) == len(Nodes)
}

// Close implements Cluster.
func (c *instar) Close() error { return errors.Join(c.client.Close(), c.killAll(), c.mesh.Close()) }

// instarWriter writes objects as agents and controllers do: each on top of what it wrote before.
type instarWriter struct {
	client *forward.Client
	to     forward.Peer

	mu   sync.Mutex
	seen map[string]uint64
}

var value = func() []byte {
	v := bytes.Repeat([]byte("x"), ValueBytes)
	v[0], v[ValueBytes-1] = '"', '"'
	return v
}()

// Write implements Writer.
func (w *instarWriter) Write(ctx context.Context, key string) error {
	w.mu.Lock()
	seen, written := w.seen[key]
	w.mu.Unlock()
	if !written {
		seen = core.AnySeq
	}
	record, err := audit.Encode(core.Txn{
		Meta: core.Meta{Principal: "bench", Verb: "bench.write", Time: time.Now(), Origin: clientName},
		Ops:  []core.Op{{Kind: core.KindInstanceStatus, ID: key, Value: value, IfSeq: seen}},
	})
	if err != nil {
		return err
	}
	answer, err := w.client.Propose(ctx, w.to, record)
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil {
		delete(w.seen, key) // it may have been written
		return err
	}
	w.seen[key] = answer.Receipt.Seq
	return nil
}

// Close implements Writer.
func (w *instarWriter) Close() error { return w.client.Close() }
