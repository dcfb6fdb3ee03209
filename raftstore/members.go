package raftstore

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/raftstore/forward"
)

// Member is a member of the Raft cluster, as far as this node knows.
type Member struct {
	Name    string `json:"name"`
	Address string `json:"address"`
	Voter   bool   `json:"voter"`
	Leader  bool   `json:"leader,omitempty"`
	// Progress is what the member says of itself; nil: it has not answered, and Error says why.
	Progress *forward.Progress `json:"progress,omitempty"`
	Error    string            `json:"error,omitempty"`
	// Lag is by how many entries of Raft's log the member's log is behind this node's.
	Lag uint64 `json:"lag"`
	// Stuck is for how long it has been behind without getting anything, as this node has seen it in
	// earlier calls: over 15 s on the leader something is wrong that does not mend itself.
	Stuck time.Duration `json:"stuck,omitempty"`
}

// progressPatience is for how long Members waits for each member, all at the same time.
const progressPatience = time.Second

// Members lists the members with what each says of itself, by asking them all. It works on every node,
// but the membership is the newest on the leader only.
func (s *Store) Members(ctx context.Context) ([]Member, error) {
	servers, err := s.servers()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, progressPatience)
	defer cancel()
	members := make([]Member, len(servers))
	leader := s.Leader()
	var all sync.WaitGroup
	for i, server := range servers {
		members[i] = Member{
			Name: string(server.ID), Address: string(server.Address),
			Voter: server.Suffrage == raft.Voter, Leader: string(server.ID) == leader,
		}
		all.Go(func() { s.ask(ctx, &members[i]) })
	}
	all.Wait()
	last := s.raft.LastIndex()
	for i := range members {
		if p := members[i].Progress; p != nil && p.LogLast < last {
			members[i].Lag = last - p.LogLast
		}
		members[i].Stuck = s.laggards.look(&members[i], time.Now())
	}
	return members, nil
}

func (s *Store) ask(ctx context.Context, m *Member) {
	var p forward.Progress
	var err error
	switch {
	case m.Name == s.config.Node:
		p = s.Progress()
	case s.config.Forward == nil:
		err = errors.New("this node cannot ask others")
	default:
		p, err = s.config.Forward.Progress(ctx, forward.Peer{Node: m.Name, Address: m.Address})
	}
	if err != nil {
		m.Error = err.Error()
		return
	}
	m.Progress = &p
}

// servers are the members in Raft's newest configuration.
func (s *Store) servers() ([]raft.Server, error) {
	future := s.raft.GetConfiguration()
	if err := future.Error(); err != nil {
		return nil, core.Errorf(core.CodeUnavailable, "read the members: %w", err)
	}
	return future.Configuration().Servers, nil
}

func (s *Store) server(node string) (server raft.Server, voters int, ok bool, err error) {
	servers, err := s.servers()
	for _, candidate := range servers {
		if candidate.Suffrage == raft.Voter {
			voters++
		}
		if string(candidate.ID) == node {
			server, ok = candidate, true
		}
	}
	return server, voters, ok, err
}
