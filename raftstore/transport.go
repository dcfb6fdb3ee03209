package raftstore

import (
	"github.com/hashicorp/raft"
)

// quietTransport keeps Raft from handling heartbeats outside of its main loop. An idle leader that gets
// one of a newer term would stamp its next entry with that term, and a follower could then accept an
// entry that no leader of the term wrote (hashicorp/raft#695). Without the handler heartbeats queue with
// everything else, which costs nothing that could be measured.
type quietTransport struct{ raft.Transport }

// SetHeartbeatHandler implements raft.Transport by not doing it.
func (quietTransport) SetHeartbeatHandler(func(raft.RPC)) {}

// quietPreVoteTransport is a quietTransport that can ask for pre-votes; Raft looks for the method.
type quietPreVoteTransport struct {
	quietTransport
	raft.WithPreVote
}

func quiet(t raft.Transport) raft.Transport {
	if preVote, ok := t.(raft.WithPreVote); ok {
		return quietPreVoteTransport{quietTransport{t}, preVote}
	}
	return quietTransport{t}
}

func closeTransport(t raft.Transport) error {
	if c, ok := t.(raft.WithClose); ok {
		return c.Close()
	}
	return nil
}
