package raftstore

import (
	"errors"
	"io"
	"sync"

	"github.com/hashicorp/raft"

	"github.com/instarhq/instar/raftstore/fsm"
)

// adapter makes a raft.BatchingFSM and a raft.SnapshotStore of a machine. The machine's file is the
// snapshot: it is durable after every batch and knows its place in Raft's log, so taking a snapshot
// copies nothing.
type adapter struct {
	machine *fsm.Machine
	fail    func(error)

	mu       sync.Mutex
	incoming *fsm.Incoming // complete, waiting to be installed
	chosen   bool          // by Open, for the Restore that follows
}

var (
	_ raft.BatchingFSM   = (*adapter)(nil)
	_ raft.SnapshotStore = (*adapter)(nil)
)

// response is what the future of an entry gives.
type response struct {
	outcomes []fsm.Outcome
	err      error // the machine stopped: it is not known what became of the entry
}

// Apply implements raft.FSM.
func (a *adapter) Apply(log *raft.Log) any { return a.ApplyBatch([]*raft.Log{log})[0] }

// ApplyBatch implements raft.BatchingFSM.
func (a *adapter) ApplyBatch(logs []*raft.Log) []any {
	entries := make([]fsm.Entry, len(logs))
	for i, log := range logs {
		entries[i] = fsm.Entry{Index: log.Index, Term: log.Term, Data: log.Data}
		if log.Type == raft.LogConfiguration {
			entries[i].Type = fsm.Configuration
		}
	}
	outcomes, err := a.machine.Apply(entries)
	if err != nil {
		a.fail(err)
	}
	responses := make([]any, len(logs))
	for i := range responses {
		r := response{err: err}
		if err == nil {
			r.outcomes = outcomes[i]
		}
		responses[i] = r
	}
	return responses
}

// Snapshot implements raft.FSM. It refuses after a failure: Raft believes that entries were applied
// which were not, and would drop them from its log.
func (a *adapter) Snapshot() (raft.FSMSnapshot, error) { return emptySnapshot{}, a.machine.Failure() }

// Restore implements raft.FSM: Open, just before, has chosen the file.
func (a *adapter) Restore(source io.ReadCloser) error {
	defer source.Close() //nolint:errcheck // has nothing in it
	a.mu.Lock()
	incoming := a.incoming
	ok := a.chosen && incoming != nil
	a.incoming, a.chosen = nil, false
	a.mu.Unlock()
	if !ok {
		return errors.New("there is no received snapshot to install")
	}
	if err := a.machine.Install(incoming); err != nil {
		a.fail(err)
		return err
	}
	return nil
}

// emptySnapshot persists nothing, because all of it is persistent.
type emptySnapshot struct{}

// Persist implements raft.FSMSnapshot.
func (emptySnapshot) Persist(raft.SnapshotSink) error { return nil }

// Release implements raft.FSMSnapshot.
func (emptySnapshot) Release() {}
