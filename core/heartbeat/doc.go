// Package heartbeat tells the leader which nodes live, and the nodes that the leader knows.
//
// Every node sends a Beat to the leader each second. The leader's Tracker keeps when, in memory and on
// its own monotonic clock; core/control makes node_status and leases of it. The answer names the leases
// of cluster-scoped targets that the node holds: it may act under them for LeaseTime from when the beat
// was sent, and the leader gives a lease on only when the holder has been silent for FenceTime. Clocks of
// different machines are never compared.
//
// See DESIGN.md for what happens when leaders change, hang or wake up.
package heartbeat

import "time"

const (
	// Every is how often a node sends a beat, give or take a tenth.
	Every = time.Second
	// LeaseTime is for how long a node acts on cluster-scoped targets after it has sent a beat that was
	// taken.
	LeaseTime = 10 * time.Second
	// FenceTime is how long a holder must have been silent before its leases are given to another node.
	FenceTime = 15 * time.Second

	// sendTime bounds one attempt to reach the leader, and retryAfter is how soon after a failed one the
	// next follows, to whoever leads then.
	sendTime   = time.Second
	retryAfter = 200 * time.Millisecond
	// leaderPoll is how often a node that waits for an answer looks whether somebody else leads by now.
	leaderPoll = 100 * time.Millisecond
)

// Beat is what a node says of itself.
type Beat struct {
	Node string `json:"node"`
	// Seq is the newest record in the view that the node's agent acts on.
	Seq uint64 `json:"seq"`
	// Settled: the agent has looked at what its drivers have, and what it found is in the store.
	Settled bool `json:"settled"`
}

// Answer says that a beat was taken.
type Answer struct {
	Leader string `json:"leader"`
	Seq    uint64 `json:"seq"` // the newest record in the leader's view
	// Leases are those that the node holds, by core.LeaseID, with their epochs.
	Leases map[string]uint64 `json:"leases,omitempty"`
}
