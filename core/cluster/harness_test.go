package cluster

import (
	"context"
	"errors"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/coretest"
	"github.com/instarhq/instar/core/identity/keeper"
	"github.com/instarhq/instar/core/mesh"
	"github.com/instarhq/instar/core/state"
)

// raftOf is Raft's configuration without Raft.
type raftOf struct {
	mu      sync.Mutex
	servers []Server
}

func (r *raftOf) IsLeader() bool        { return true }
func (r *raftOf) Leader() string        { return "n1" }
func (r *raftOf) ClusterName() string   { return "test" }
func (r *raftOf) ClusterID() string     { return "0123456789abcdef" }
func (r *raftOf) Replica() core.Replica { return core.Replica{Node: "n1", Origin: "o"} }

func (r *raftOf) Servers() ([]Server, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.servers), nil
}

func (r *raftOf) set(node string, voter bool) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if i := indexOf(r.servers, node); i >= 0 {
		r.servers[i].Voter = voter
	} else {
		r.servers = append(r.servers, Server{Node: node, Voter: voter})
	}
	return nil
}

func (r *raftOf) AddNonvoter(_ context.Context, node string) error { return r.set(node, false) }
func (r *raftOf) AddVoter(_ context.Context, node string) error    { return r.set(node, true) }
func (r *raftOf) Demote(_ context.Context, node string) error      { return r.set(node, false) }

func (r *raftOf) Remove(_ context.Context, node string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.servers = slices.DeleteFunc(r.servers, func(s Server) bool { return s.Node == node })
	return nil
}

func (r *raftOf) TransferLeadership(context.Context, string) error {
	return errors.New("nobody is there")
}

// world is a leader's membership over a store in memory, with a clock that the test moves.
type world struct {
	*testing.T
	*Cluster
	raft  *raftOf
	state *state.State
	mu    sync.Mutex
	clock time.Time
}

func newWorld(t *testing.T, level int) *world {
	t.Helper()
	w := &world{T: t, raft: &raftOf{servers: []Server{{Node: "n1", Voter: true}}}, clock: time.Now()}
	w.state = state.New(coretest.NewStore())
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = w.state.Run(ctx) }() // ends with ctx
	t.Cleanup(func() { cancel(); <-done })
	if err := w.state.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	keys, err := keeper.Open(IdentityDir(dir))
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	book := NewBook(nil)
	m := mesh.New(listener, mesh.Config{Node: "n1", Credentials: keys, Resolve: book.Resolve})
	t.Cleanup(func() { _ = m.Close() })
	w.Cluster, err = New(Config{
		Node: "n1", Address: "10.0.0.1:4748", Version: "1", DataDir: dir, State: w.state, Raft: w.raft, Mesh: m, Keeper: keys, Book: book,
		DeadAfter: time.Hour, Level: level,
		Now: func() time.Time { w.mu.Lock(); defer w.mu.Unlock(); return w.clock },
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Init(t.Context(), core.Meta{Principal: "local:test"}); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.clock = w.clock.Add(d)
}

// put writes objects past everybody.
func (w *world) put(change func(*state.Tx)) {
	w.Helper()
	_, err := w.state.Update(w.Context(), core.Meta{Principal: "test", Verb: "test"}, func(tx *state.Tx) error { change(tx); return nil })
	if err != nil {
		w.Fatal(err)
	}
}

// voter makes another voter, as far as store and Raft are concerned.
func (w *world) voter(name string) {
	w.Helper()
	w.put(func(tx *state.Tx) {
		state.Members.Put(tx, name, core.Member{
			Format: core.Format, Name: name, Role: core.RoleVoter, Address: name + ":1", State: core.MemberActive,
			Certificates: []core.Certificate{{Serial: "c" + name, NotAfter: w.now().Add(90 * 24 * time.Hour)}},
		})
	})
	_ = w.raft.set(name, true)
}

func (w *world) down(name string) {
	w.Helper()
	w.put(func(tx *state.Tx) {
		state.NodeStatuses.Put(tx, name, core.NodeStatus{Format: core.Format, Node: name, State: core.NodeDown, Since: w.now().UTC()})
	})
}

func (w *world) voters() []string {
	servers, _ := w.raft.Servers()
	var out []string
	for _, s := range servers {
		if s.Voter {
			out = append(out, s.Node)
		}
	}
	return out
}

func (w *world) rounds(n int) {
	for range n {
		w.round(w.Context())
		w.pass(2 * time.Second)
	}
}
