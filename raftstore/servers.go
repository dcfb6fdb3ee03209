package raftstore

import "github.com/hashicorp/raft"

// Servers lists the members as Raft's newest configuration has them, without asking anybody.
func (s *Store) Servers() ([]Member, error) {
	servers, err := s.servers()
	if err != nil {
		return nil, err
	}
	leader := s.Leader()
	members := make([]Member, len(servers))
	for i, server := range servers {
		members[i] = Member{
			Name: string(server.ID), Address: string(server.Address),
			Voter: server.Suffrage == raft.Voter, Leader: string(server.ID) == leader,
		}
	}
	return members, nil
}
