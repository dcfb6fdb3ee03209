package telemetry

import (
	"time"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/heartbeat"
	"github.com/instarhq/instar/core/state"
)

// Sources is where the figures come from. A nil function, or a zero answer, leaves its metrics out.
type Sources struct {
	Store   func() Store
	View    func() *state.View
	Leads   func() bool // this node leads, and takes writes
	Ready   func() string
	Drivers func() []Driver
	// Look is what the leader hears of a node.
	Look func(node string) (heartbeat.Sight, bool)
	// Acknowledged is when the newest heartbeat that the leader has taken was sent; zero: none yet.
	Acknowledged func() time.Time
	// Certificates gives when the node's certificates end, by what they are for: node, ca.
	Certificates func() map[string]time.Time
}

// Store are the figures of this node's part of the store.
type Store struct {
	State       string // in Raft: leader, follower, candidate, shutdown
	Leader      string // its node name; empty: nobody is known to lead
	Term        uint64
	Voters      int
	Nonvoters   int
	Silent      time.Duration // nothing was heard of the leader
	LogFirst    uint64        // entries of Raft's log
	LogLast     uint64
	Committed   uint64
	Applied     uint64
	Durable     uint64 // in the state file
	Records     uint64
	Objects     uint64
	Queued      int // transactions that wait to be proposed
	QueuedBytes int // bytes of these
	Refused     uint64
	Pending     int // bytes that the state file has not yet
	FileBytes   int64
	LogBytes    int64
}

// Driver are the figures of a configured target of this node.
type Driver struct {
	core.Target
	Launches uint64
	Failures uint64
}
