package raftstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/audit"
	"github.com/instarhq/instar/raftstore/fsm"
)

// RecoverConfig says what Recover shall do. Dir, Node and Meta are needed.
type RecoverConfig struct {
	Dir  string // the data directory of a store that does not run
	Node string // whose directory it is
	// Address is where the node is to be found from now on; empty: where it was.
	Address string
	// Meta is the author and reason of the record that says so. The verb is "cluster.recover" if empty.
	Meta core.Meta
	// Also gives writes that belong into the same record, from the state as it is: what the members that
	// are lost may no longer do. nil: none.
	Also   func(ctx context.Context, r core.Reader) ([]core.Op, error)
	Now    func() time.Time // nil: time.Now
	Logger hclog.Logger     // nil: none
}

// Recovered says what Recover did.
type Recovered struct {
	Receipt  core.Receipt  // of the first record of the new generation
	Previous core.TreeHead // the log up to there
	Former   []string      // members of before that are none now
	// Uncertain is how many entries of Raft's log were kept of which it is not known whether they had
	// been committed: writes whose outcome nobody was told may have happened.
	Uncertain uint64
}

// Recover makes the store in a directory a cluster of its own, for the case that most voters of its
// cluster are lost for good. Everything that the directory has is kept; what the lost voters alone had
// is not, and which records that are nobody can tell. The log goes on under a new generation, so that its
// records can never be mistaken for those of a lost voter that comes back after all. Such a one must get an empty
// directory and join anew.
//
// Run it on the node that is furthest, when none of the other voters runs: two halves of one cluster
// would go different ways.
func Recover(ctx context.Context, config RecoverConfig) (result Recovered, err error) {
	s, err := openOffline(config)
	if err != nil {
		return result, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if s.machine.Identity().ID == "" {
		return result, core.Errorf(core.CodeInvalid, "the store in %s never belonged to a cluster", config.Dir)
	}
	if result.Uncertain, err = s.applyRest(); err != nil {
		return result, err
	}
	server, former, err := s.survivor(config.Address)
	if err != nil {
		return result, err
	}
	result.Former = former
	last, term, err := s.nextTerm()
	if err != nil {
		return result, err
	}
	incoming, err := s.recovered(ctx, config, &result)
	if err != nil {
		return result, err
	}
	voters := raft.EncodeConfiguration(raft.Configuration{Servers: []raft.Server{server}})
	if err := incoming.Place(last+1, term, voters, last+1); err != nil {
		return result, err
	}
	// From here on the recovery has happened: opening the directory drops the old log if this does not.
	if err := s.machine.Install(incoming); err != nil {
		return result, err
	}
	if err := s.dropLog(); err != nil {
		return result, err
	}
	result.Receipt, err = s.lineageReceipt(ctx, s.machine.Identity())
	return result, err
}

// openOffline opens a store's files, without Raft.
func openOffline(config RecoverConfig) (*Store, error) {
	c := Config{Dir: config.Dir, Node: config.Node, Now: config.Now, Logger: config.Logger, Join: true}
	if err := c.complete(); err != nil {
		return nil, err
	}
	if present := (&dir{path: c.Dir}); !present.has(nodeFile) {
		return nil, core.Errorf(core.CodeNotFound, "there is no store in %s", c.Dir)
	}
	s := newStore(c)
	if _, err := s.openFiles(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// applyRest brings the state to the end of the log. An entry that was acknowledged is in the log of a
// majority, so it may be among those of which this node does not know that they were committed.
func (s *Store) applyRest() (uint64, error) {
	last, err := s.log.LastIndex()
	if err != nil {
		return 0, err
	}
	begin := s.machine.Position().RaftIndex
	for index := begin + 1; index <= last; index++ {
		var log raft.Log
		if err := s.log.GetLog(index, &log); err != nil {
			return 0, fmt.Errorf("entry %d: %w", index, err)
		}
		entry := fsm.Entry{Index: index, Term: log.Term, Data: log.Data}
		switch log.Type {
		case raft.LogCommand:
		case raft.LogConfiguration:
			entry.Type = fsm.Configuration
		default:
			continue
		}
		if _, err := s.machine.Apply([]fsm.Entry{entry}); err != nil {
			return 0, err
		}
	}
	return max(last, begin) - begin, s.machine.Flush() // the members are read from the file
}

// survivor finds this node among the members.
func (s *Store) survivor(address string) (server raft.Server, former []string, err error) {
	configuration, position, err := s.machine.Configuration()
	if err != nil {
		return server, nil, err
	}
	meta, err := snapshotMeta(position, configuration, 0)
	if err != nil {
		return server, nil, err
	}
	server = raft.Server{ID: raft.ServerID(s.config.Node), Address: raft.ServerAddress(address)}
	if meta != nil {
		for _, member := range meta.Configuration.Servers {
			switch {
			case member.ID != server.ID:
				former = append(former, string(member.ID))
			case address == "":
				server.Address = member.Address
			}
		}
	}
	if server.Address == "" {
		return server, nil, core.Errorf(core.CodeInvalid, "node %q was no member of the cluster, so its address is not known", s.config.Node).
			WithHint("recover on a node that was a voter, or name its address")
	}
	return server, former, nil
}

// nextTerm begins a term that is over all that the log has.
func (s *Store) nextTerm() (last, term uint64, err error) {
	if term, err = s.log.GetUint64([]byte(currentTerm)); err != nil {
		return 0, 0, err
	}
	if last, err = s.log.LastIndex(); err != nil {
		return 0, 0, err
	}
	term++
	return max(last, s.machine.Position().RaftIndex), term, s.log.WAL.SetUint64([]byte(currentTerm), term)
}

// recovered makes the state file of the new generation.
func (s *Store) recovered(ctx context.Context, config RecoverConfig, result *Recovered) (*fsm.Incoming, error) {
	var also []core.Op
	if config.Also != nil {
		var err error
		if also, err = config.Also(ctx, s); err != nil {
			return nil, err
		}
	}
	incoming, err := s.machine.NewIncoming("recover")
	if err != nil {
		return nil, err
	}
	if err := s.machine.WriteTo(incoming, nil); err != nil {
		return nil, errors.Join(err, incoming.Abort())
	}
	if err := incoming.Verify(); err != nil {
		return nil, err
	}
	identity := s.machine.Identity()
	identity.Generation++
	err = incoming.Rename(identity, func(old core.TreeHead, lastTime int64) ([]byte, error) {
		result.Previous = old
		return s.recoverRecord(identity, old, lastTime, config.Meta, also)
	})
	return incoming, err
}

func (s *Store) recoverRecord(identity fsm.Identity, old core.TreeHead, lastTime int64, meta core.Meta, also []core.Op) ([]byte, error) {
	value, err := json.Marshal(core.Lineage{Format: core.Format, Origin: identity.Origin(), Previous: old, Recovered: s.config.Node})
	if err != nil {
		return nil, err
	}
	meta.Time = notBefore(s.config.Now(), lastTime)
	if meta.Origin == "" {
		meta.Origin = s.config.Node
	}
	if meta.Verb == "" {
		meta.Verb = "cluster.recover"
	}
	txn := core.Txn{Meta: meta, Ops: append([]core.Op{{Kind: core.KindLineage, ID: identity.Origin(), Value: value}}, also...)}
	if err := audit.Check(&txn); err != nil {
		return nil, err
	}
	return audit.Encode(txn)
}

func (s *Store) dropLog() error {
	first, err := s.log.FirstIndex()
	if err != nil {
		return err
	}
	last, err := s.log.LastIndex()
	if err != nil || last == 0 {
		return err
	}
	return s.log.DeleteRange(first, last)
}
