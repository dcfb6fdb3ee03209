package raftstore

import (
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/raftstore/fsm"
)

// Config says how to open a store. Dir and Node are needed; everything else has a default.
type Config struct {
	// Dir is the data directory; it is made if it does not exist. One process at a time uses it.
	Dir string
	// Node is this node's name, unique in the cluster and for ever: it is the node's id in Raft.
	Node string
	// Cluster is the name of a new cluster, and checked against that of an existing one. Default "dev".
	Cluster string
	// Logger gets Raft's messages and ours; nil: none.
	Logger hclog.Logger

	// Transport speaks to the other nodes; the store closes it. nil: this node is a cluster of its own.
	Transport raft.Transport
	// Forward asks the other nodes; the store closes it. nil: transactions are taken on the leader only.
	// Handler answers what the others ask.
	Forward Forwarder
	// Voters are the members of a new cluster, this node among them; nil: this node alone. Ignored if
	// Dir has a cluster already.
	Voters []raft.Server
	// Join makes an empty Dir wait to be added to a cluster (AddNonvoter on its leader) instead of
	// beginning one. Ignored if Dir has a cluster already.
	Join bool

	// Heartbeat is for how long a follower waits to hear from the leader before it holds an election; a leader
	// that has not heard from a majority for nearly as long steps down. Default 500ms.
	Heartbeat time.Duration
	// Now is the clock that stamps transactions; nil: time.Now. Raft's timers do not follow it.
	Now func() time.Time
	// DiskStall is for how long one write to the log may take before the store gives up: a disk that
	// hangs would otherwise hold the leadership and never commit. Default 20s.
	DiskStall time.Duration
	// Observer, if not nil, is told what the store does.
	Observer Observer
	// FSM tunes the state machine.
	FSM fsm.Options

	tune         func(*raft.Config) // tests: smaller figures
	segmentBytes int                // tests: smaller files; 0: segmentBytes
	watchEvery   time.Duration      // tests: sooner; 0: watchEvery
}

const (
	defaultCluster   = "dev"
	defaultDiskStall = 20 * time.Second
)

func (c *Config) complete() error {
	if c.Dir == "" {
		return core.Errorf(core.CodeInvalid, "raftstore: no data directory given")
	}
	if err := core.CheckName("node", c.Node); err != nil {
		return err
	}
	if c.Cluster != "" {
		if err := core.CheckName("cluster", c.Cluster); err != nil {
			return err
		}
	}
	if c.Logger == nil {
		c.Logger = hclog.NewNullLogger()
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.DiskStall == 0 {
		c.DiskStall = defaultDiskStall
	}
	if c.Heartbeat == 0 {
		c.Heartbeat = heartbeat
	}
	if c.segmentBytes == 0 {
		c.segmentBytes = segmentBytes
	}
	return nil
}

// Raft's figures: what was measured best for fail-over without flapping.
const (
	heartbeat       = 500 * time.Millisecond
	maxAppend       = 64
	snapshotEvery   = 10 * time.Second
	snapshotEntries = 1024   // entries after which Raft's log is cut
	trailingEntries = 20_000 // entries that are kept for followers that lag
	trailingAlone   = 256    // without followers: some, in case the newest state page is damaged (DESIGN.md)
)

func (c *Config) raft(notify chan<- bool) *raft.Config {
	rc := raft.DefaultConfig()
	rc.LocalID = raft.ServerID(c.Node)
	rc.Logger = calm(c.Logger.Named("raft"))
	rc.NotifyCh = notify
	// The lease is just below: a leader that lacks processor time should not step down for it.
	rc.HeartbeatTimeout, rc.ElectionTimeout, rc.LeaderLeaseTimeout = c.Heartbeat, c.Heartbeat, c.Heartbeat*9/10
	rc.MaxAppendEntries = maxAppend
	rc.SnapshotInterval, rc.SnapshotThreshold, rc.TrailingLogs = snapshotEvery, snapshotEntries, trailingEntries
	rc.NoSnapshotRestoreOnStart = true // the state file is the snapshot, and is in place
	rc.NoLegacyTelemetry = true
	if c.Transport == nil {
		rc.TrailingLogs = trailingAlone
	}
	if c.tune != nil {
		c.tune(rc)
	}
	return rc
}
