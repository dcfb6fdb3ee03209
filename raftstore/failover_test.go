package raftstore

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/audit"
	"github.com/instarhq/instar/raftstore/forward"
)

// member is what a process of its own needs to be a node.
type memberConfig struct {
	Dir, Node     string
	Raft, Forward map[string]string // addresses by node
}

// tcpLayer is a raft.StreamLayer without anything around it.
type tcpLayer struct{ net.Listener }

func (tcpLayer) Dial(address raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	return net.DialTimeout("tcp", string(address), timeout)
}

// runMember is a node until it is killed or gets SIGTERM.
func runMember(text string) error {
	var m memberConfig
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		return err
	}
	raftListener, err := net.Listen("tcp", m.Raft[m.Node])
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", m.Forward[m.Node])
	if err != nil {
		return err
	}
	var voters []raft.Server
	for node, address := range m.Raft {
		voters = append(voters, raft.Server{ID: raft.ServerID(node), Address: raft.ServerAddress(address)})
	}
	client := forward.NewClient(func(ctx context.Context, to forward.Peer) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", m.Forward[to.Node])
	}, nil)
	s, err := Open(context.Background(), Config{
		Dir: m.Dir, Node: m.Node, Cluster: "several", Voters: voters, Forward: client,
		Transport: NewTransport(tcpLayer{raftListener}, nil), segmentBytes: 1 << 20,
	})
	if err != nil {
		return err
	}
	server := &forward.Server{Handler: s.Handler()}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() { _ = server.Serve(context.Background(), conn, "test") }()
		}
	}()
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGTERM)
	fmt.Println("ready")
	<-ended
	return s.Close()
}

// processes are nodes that can be killed and stopped.
type processes struct {
	t       *testing.T
	config  memberConfig
	dirs    map[string]string
	running map[string]*exec.Cmd
	client  *forward.Client
}

func newProcesses(t *testing.T) *processes {
	t.Helper()
	p := &processes{
		t: t, dirs: map[string]string{}, running: map[string]*exec.Cmd{},
		config: memberConfig{Raft: map[string]string{}, Forward: map[string]string{}},
	}
	p.client = forward.NewClient(func(ctx context.Context, to forward.Peer) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", p.config.Forward[to.Node])
	}, nil)
	t.Cleanup(func() { _ = p.client.Close() })
	for i := range clusterSize {
		p.dirs[name(i)] = t.TempDir()
		for _, addresses := range []map[string]string{p.config.Raft, p.config.Forward} {
			listener, err := net.Listen("tcp", "127.0.0.1:0") // a free port, which the process takes soon
			if err != nil {
				t.Fatal(err)
			}
			addresses[name(i)] = listener.Addr().String()
			if err := listener.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
	for i := range clusterSize {
		p.start(name(i))
	}
	return p
}

func (p *processes) start(node string) {
	p.t.Helper()
	config := p.config
	config.Node, config.Dir = node, p.dirs[node]
	text, err := json.Marshal(config)
	if err != nil {
		p.t.Fatal(err)
	}
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), childEnv+"=member:"+string(text))
	child.Stderr = os.Stderr
	stdout, err := child.StdoutPipe()
	if err == nil {
		err = child.Start()
	}
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { _ = child.Process.Kill() })
	if _, err := bufio.NewReader(stdout).ReadString('\n'); err != nil && err != io.EOF {
		p.t.Fatal(err)
	}
	p.running[node] = child
}

func (p *processes) end(node string, signal syscall.Signal) {
	p.t.Helper()
	child := p.running[node]
	delete(p.running, node)
	if err := child.Process.Signal(signal); err != nil {
		p.t.Fatal(err)
	}
	_ = child.Wait()
}

func (p *processes) peer(node string) forward.Peer {
	return forward.Peer{Node: node, Address: p.config.Forward[node]}
}

// write asks all nodes but one in turn until the write is committed.
func (p *processes) write(id, not string) (receipt core.Receipt) {
	p.t.Helper()
	txn := writeTxn(id, "x")
	txn.Meta.Time = time.Now()
	raw, err := audit.Encode(txn)
	if err != nil {
		p.t.Fatal(err)
	}
	eventually(p.t, "the write "+id+" is committed", func() bool {
		for node := range p.running {
			if node == not {
				continue
			}
			ctx, cancel := context.WithTimeout(p.t.Context(), 2*time.Second)
			answer, err := p.client.Propose(ctx, p.peer(node), raw)
			cancel()
			if err == nil {
				receipt = answer.Receipt
				return true
			}
			if !core.Retryable(err) {
				p.t.Fatal(err)
			}
		}
		return false
	})
	return receipt
}

func (p *processes) leader() (leader string) {
	p.t.Helper()
	eventually(p.t, "there is a leader", func() bool {
		for node := range p.running {
			ctx, cancel := context.WithTimeout(p.t.Context(), 2*time.Second)
			progress, err := p.client.Progress(ctx, p.peer(node))
			cancel()
			if err == nil && progress.Leader == node {
				leader = node
				return true
			}
		}
		return false
	})
	return leader
}

func (p *processes) caughtUp(node string, seq uint64) {
	p.t.Helper()
	eventually(p.t, node+" has caught up", func() bool {
		progress, err := p.client.Progress(p.t.Context(), p.peer(node))
		return err == nil && progress.Seq >= seq
	})
}

// TestFailover kills and stops leaders, and times the next committed write.
func TestFailover(t *testing.T) {
	t.Parallel() // most of it is waiting for elections
	p := newProcesses(t)
	var writes []acked
	count := 0
	write := func(not string) core.Receipt {
		id := fmt.Sprint(count)
		count++
		receipt := p.write(id, not)
		writes = append(writes, acked{receipt, id})
		return receipt
	}
	for _, how := range []string{"killed", "stopped", "killed"} {
		for range 20 {
			write("")
		}
		leader := p.leader()
		process := p.running[leader]
		if how == "stopped" {
			if err := process.Process.Signal(syscall.SIGSTOP); err != nil {
				t.Fatal(err)
			}
		} else {
			p.end(leader, syscall.SIGKILL)
		}
		began := time.Now()
		last := write(leader)
		took := time.Since(began)
		t.Logf("leader %s: the next write was committed after %s", how, took)
		if took > 10*time.Second {
			t.Errorf("no write for %s after the leader was %s", took, how)
		}
		if how == "stopped" {
			if err := process.Process.Signal(syscall.SIGCONT); err != nil {
				t.Fatal(err)
			}
		} else {
			p.start(leader)
		}
		p.caughtUp(leader, last.Seq)
	}
	for node := range p.dirs {
		p.end(node, syscall.SIGTERM)
	}
	p.check(writes)
}

// check opens what the processes have left.
func (p *processes) check(writes []acked) {
	p.t.Helper()
	c := &nodes{t: p.t, network: newNetwork(), running: map[string]*node{}, dirs: p.dirs}
	for node := range p.dirs {
		c.network.raft[node], c.network.forward[node] = p.config.Raft[node], p.config.Forward[node]
		c.start(node, false)
	}
	head := c.agree()
	for _, n := range c.running {
		proveAll(p.t, n.Store, head, writes)
	}
	for node := range p.dirs {
		c.stop(node)
	}
}
