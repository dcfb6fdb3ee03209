package cluster

import (
	"context"
	"path/filepath"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/identity/ca"
	"github.com/instarhq/instar/core/identity/keeper"
	"github.com/instarhq/instar/core/mesh"
	"github.com/instarhq/instar/core/state"
)

// Server is a member as Raft's configuration has it.
type Server struct {
	Node  string
	Voter bool
}

// Raft is what membership needs of the store. Changes work on the leader.
type Raft interface {
	IsLeader() bool
	Leader() string // its name; empty: not known
	Servers() ([]Server, error)
	AddNonvoter(ctx context.Context, node string) error
	AddVoter(ctx context.Context, node string) error
	Demote(ctx context.Context, node string) error
	Remove(ctx context.Context, node string) error
	// TransferLeadership hands over to a voter that has everything; empty: to any.
	TransferLeadership(ctx context.Context, to string) error
	// Replica fills in what the store knows of this node.
	Replica() core.Replica
	ClusterName() string
	ClusterID() string
}

// Config is what a Cluster needs.
type Config struct {
	Node    string
	Address string   // where other members reach this node
	API     []string // addresses that people reach it by, for its certificate
	Version string
	DataDir string
	State   *state.State
	Raft    Raft
	Mesh    *mesh.Mesh
	Keeper  *keeper.Keeper
	Book    *Book
	Record  *Record
	// DeadAfter and NodeGrace are those of a cluster that begins here.
	DeadAfter, NodeGrace time.Duration
	Logger               hclog.Logger

	Now func() time.Time // nil: time.Now
	// Steady is a clock that does not jump when Now does, for durations that are kept in the store. nil: Now.
	Steady func() time.Time
	Every  time.Duration // of the leader's round; default 500ms
	// Stable is for how long a voter-to-be has to keep up before it is promoted; default 2s.
	Stable time.Duration
	// Level is the newest level of stored formats that this node reads; default core.Level.
	Level int
}

// Cluster is one node's membership. Make one with New, which registers what other members call, and Run it.
type Cluster struct {
	cfg     Config
	log     hclog.Logger
	now     func() time.Time
	started time.Time

	mu        sync.Mutex
	record    *Record
	authority *ca.CA // nil: not here
	left      chan struct{}
	leftOnce  sync.Once

	limiter *limiter // of failed joins
	// Of the leader's loop alone: since when a voter-to-be keeps up, and a member that leaves is out of Raft.
	steady, gone map[string]time.Time
}

// The defaults of a cluster.
const (
	DefaultDeadAfter = 24 * time.Hour
	DefaultNodeGrace = 30 * time.Second
)

// New makes a node's membership.
func New(cfg Config) (*Cluster, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Steady == nil {
		cfg.Steady = cfg.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = hclog.NewNullLogger()
	}
	for value, standard := range map[*time.Duration]time.Duration{
		&cfg.Every: 500 * time.Millisecond, &cfg.Stable: 2 * time.Second, &cfg.NodeGrace: DefaultNodeGrace,
	} {
		if *value == 0 {
			*value = standard
		}
	}
	if cfg.Level == 0 {
		cfg.Level = core.Level
	}
	c := &Cluster{
		cfg: cfg, log: cfg.Logger.Named("cluster"), now: cfg.Now, started: cfg.Now().UTC(), record: cfg.Record,
		left: make(chan struct{}), limiter: newLimiter(cfg.Now), steady: map[string]time.Time{}, gone: map[string]time.Time{},
	}
	if err := c.loadAuthority(); err != nil {
		return nil, err
	}
	c.handle()
	return c, nil
}

func (c *Cluster) caPath() string { return filepath.Join(IdentityDir(c.cfg.DataDir), caFile) }

func (c *Cluster) loadAuthority() error {
	authority, err := ca.Load(c.caPath())
	if core.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	c.authority = authority
	return nil
}

// signer gives the CA, if its key is here.
func (c *Cluster) signer() (*ca.CA, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.authority == nil {
		return nil, core.Errorf(core.CodeUnavailable, "node %q leads but does not have the CA's key yet", c.cfg.Node)
	}
	return c.authority, nil
}

// takeAuthority keeps a CA, on disk first.
func (c *Cluster) takeAuthority(authority *ca.CA) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.authority != nil && c.authority.Digest() == authority.Digest() {
		return nil
	}
	if err := authority.Save(c.caPath()); err != nil {
		return err
	}
	c.authority = authority
	return nil
}

// remember changes the record, on disk first.
func (c *Cluster) remember(change func(*Record)) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	next := &Record{Node: c.cfg.Node}
	if c.record != nil {
		next = c.record.clone()
	}
	change(next)
	if err := next.Save(c.cfg.DataDir); err != nil {
		return err
	}
	c.record = next
	return nil
}

func (c *Cluster) phase() Phase {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.record == nil {
		return ""
	}
	return c.record.Phase
}

// Left is closed when the node has left the cluster: the daemon ends then.
func (c *Cluster) Left() <-chan struct{} { return c.left }

// object is the Cluster object, if there is one.
func object(r state.Reader) (core.Cluster, bool) { return state.Clusters.Get(r, core.ClusterObject) }

// controller is the principal of what the leader does by itself.
const controller = "controller"

func (c *Cluster) update(ctx context.Context, meta core.Meta, change func(*state.Tx) error) (core.Receipt, error) {
	return c.cfg.State.Update(ctx, meta, change)
}
