package raftstore

import (
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/hashicorp/raft"
)

// Stats is a node's state in figures, for status pages and metrics.
type Stats struct {
	Node      string `json:"node"`
	State     string `json:"state"` // leader, follower, candidate, shutdown
	Leader    string `json:"leader,omitempty"`
	Term      uint64 `json:"term"`
	Voters    int    `json:"voters"`
	Nonvoters int    `json:"nonvoters"`
	// Silent is for how long nothing was heard of the leader; 0 on the leader itself.
	Silent      time.Duration `json:"silent"`
	LogFirst    uint64        `json:"log_first"` // oldest entry of Raft's log
	LogLast     uint64        `json:"log_last"`
	Committed   uint64        `json:"committed"` // newest entry known to be committed
	Applied     uint64        `json:"applied"`   // newest entry that reads see
	Durable     uint64        `json:"durable"`   // newest entry that the state file has, a little behind Applied
	Seq         uint64        `json:"seq"`       // newest record
	Objects     uint64        `json:"objects"`
	Queued      int           `json:"queued"`       // transactions that wait to be proposed
	QueuedBytes int           `json:"queued_bytes"` // of these
	Refused     uint64        `json:"refused"`      // transactions that were not queued because too many were waiting
	Pending     int           `json:"pending"`      // bytes that were applied and are not in the state file yet
	FileBytes   int64         `json:"file_bytes"`   // of the state file
	LogBytes    int64         `json:"log_bytes"`    // of the files of Raft's log
}

// Stats gives the figures of this moment.
func (s *Store) Stats() Stats {
	position := s.machine.Position()
	durable, _ := s.machine.Durable()
	first, _ := s.log.FirstIndex() // 0 if the log is closed
	out := Stats{
		Node: s.config.Node, State: stateName(s.raft.State()), Leader: s.Leader(), Term: s.raft.CurrentTerm(),
		LogFirst: first, LogLast: s.raft.LastIndex(), Committed: s.raft.CommitIndex(), Applied: position.RaftIndex,
		Durable: durable.RaftIndex, Seq: position.Seq, Objects: position.Objects,
		Pending: s.machine.Pending(), FileBytes: fileBytes(s.dir.file(stateFile)), LogBytes: folderBytes(s.dir.file(raftDir)),
	}
	out.Queued, out.QueuedBytes, out.Refused = s.queue.stats()
	if contact := s.raft.LastContact(); s.raft.State() != raft.Leader && !contact.IsZero() {
		out.Silent = max(0, time.Since(contact))
	}
	servers, _ := s.servers() // none if Raft has ended
	for _, server := range servers {
		if server.Suffrage == raft.Voter {
			out.Voters++
		} else {
			out.Nonvoters++
		}
	}
	return out
}

func stateName(state raft.RaftState) string { return strings.ToLower(state.String()) }

// fileBytes is a file's size, 0 if it is not there.
func fileBytes(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.Size()
}

// folderBytes is the size of the files in a folder; one that is removed meanwhile counts nothing.
func folderBytes(path string) (total int64) {
	entries, _ := os.ReadDir(path)
	for _, e := range entries {
		total += fileBytes(filepath.Join(path, e.Name()))
	}
	return total
}
