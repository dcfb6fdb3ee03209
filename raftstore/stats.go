package raftstore

import (
	"strings"

	"github.com/hashicorp/raft"
)

// Stats is a node's state in figures, for status pages and metrics.
type Stats struct {
	Node      string `json:"node"`
	State     string `json:"state"` // leader, follower, candidate, shutdown
	Leader    string `json:"leader,omitempty"`
	Term      uint64 `json:"term"`
	LogFirst  uint64 `json:"log_first"` // oldest entry of Raft's log
	LogLast   uint64 `json:"log_last"`
	Committed uint64 `json:"committed"` // newest entry known to be committed
	Applied   uint64 `json:"applied"`   // newest entry that reads see
	Durable   uint64 `json:"durable"`   // newest entry that the state file has, a little behind Applied
	Seq       uint64 `json:"seq"`       // newest record
	Objects   uint64 `json:"objects"`
	Queued    int    `json:"queued"` // transactions that wait to be proposed
}

// Stats gives the figures of this moment.
func (s *Store) Stats() Stats {
	position := s.machine.Position()
	durable, _ := s.machine.Durable()
	first, _ := s.log.FirstIndex() // 0 if the log is closed
	return Stats{
		Node: s.config.Node, State: stateName(s.raft.State()), Leader: s.Leader(), Term: s.raft.CurrentTerm(),
		LogFirst: first, LogLast: s.raft.LastIndex(), Committed: s.raft.CommitIndex(), Applied: position.RaftIndex,
		Durable: durable.RaftIndex,
		Seq:     position.Seq, Objects: position.Objects, Queued: s.queue.len(),
	}
}

func stateName(state raft.RaftState) string { return strings.ToLower(state.String()) }
