package raftstore

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/hashicorp/raft"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/raftstore/fsm"
)

const (
	stateSnapshot    = "state" // the machine's file as it is
	incomingSnapshot = "incoming"
)

// List implements raft.SnapshotStore.
func (a *adapter) List() ([]*raft.SnapshotMeta, error) {
	configuration, position, err := a.machine.Configuration()
	if err != nil {
		return nil, err
	}
	meta, err := snapshotMeta(position, configuration, 0)
	if err != nil || meta == nil {
		return nil, err
	}
	return []*raft.SnapshotMeta{meta}, nil
}

func snapshotMeta(position fsm.Position, configuration []byte, size int64) (meta *raft.SnapshotMeta, err error) {
	if position.RaftIndex == 0 || position.ConfigIndex == 0 {
		return nil, nil
	}
	defer func() {
		if p := recover(); p != nil { // DecodeConfiguration panics
			err = core.Errorf(core.CodeCorrupt, "%s: the configuration does not decode: %v", stateFile, p).WithHint(restoreHint)
		}
	}()
	return &raft.SnapshotMeta{
		Version: raft.SnapshotVersionMax, ID: stateSnapshot, Index: position.RaftIndex, Term: position.RaftTerm,
		Configuration: raft.DecodeConfiguration(configuration), ConfigurationIndex: position.ConfigIndex, Size: size,
	}, nil
}

// Open implements raft.SnapshotStore.
func (a *adapter) Open(id string) (*raft.SnapshotMeta, io.ReadCloser, error) {
	switch id {
	case incomingSnapshot:
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.incoming == nil {
			return nil, nil, errors.New("there is no received snapshot")
		}
		a.chosen = true
		return &raft.SnapshotMeta{ID: id}, io.NopCloser(strings.NewReader("")), nil
	case stateSnapshot:
		return a.openState()
	}
	return nil, nil, fmt.Errorf("there is no snapshot %q", id)
}

// openState streams the file as of one read transaction, which also gives the metadata.
func (a *adapter) openState() (*raft.SnapshotMeta, io.ReadCloser, error) {
	type begun struct {
		meta *raft.SnapshotMeta
		err  error
	}
	begin := make(chan begun, 1)
	reader, writer := io.Pipe()
	go func() {
		started := false
		err := a.machine.WriteTo(writer, func(position fsm.Position, configuration []byte, _ fsm.Identity, size int64) error {
			started = true
			meta, err := snapshotMeta(position, configuration, size)
			if err == nil && meta == nil {
				err = errors.New("the state is empty")
			}
			begin <- begun{meta, err}
			return err
		})
		if !started {
			begin <- begun{nil, err}
		}
		writer.CloseWithError(err)
	}()
	b := <-begin
	if b.err != nil {
		return nil, nil, b.err
	}
	return b.meta, reader, nil
}

// Create implements raft.SnapshotStore.
func (a *adapter) Create(_ raft.SnapshotVersion, index, term uint64, configuration raft.Configuration,
	configIndex uint64, _ raft.Transport,
) (raft.SnapshotSink, error) {
	return &sink{adapter: a, index: index, term: term, configuration: raft.EncodeConfiguration(configuration), configIndex: configIndex}, nil
}

// sink is where Raft writes a snapshot that it received. One that it takes itself has no bytes: closing
// the sink then only brings the machine's file to where Raft believes it to be.
type sink struct {
	adapter       *adapter
	index, term   uint64
	configuration []byte
	configIndex   uint64
	incoming      *fsm.Incoming
}

// ID implements raft.SnapshotSink.
func (s *sink) ID() string {
	if s.incoming == nil {
		return stateSnapshot
	}
	return incomingSnapshot
}

// Write implements raft.SnapshotSink.
func (s *sink) Write(data []byte) (int, error) {
	if s.incoming == nil {
		incoming, err := s.adapter.machine.NewIncoming(incomingSnapshot)
		if err != nil {
			return 0, err
		}
		s.incoming = incoming
	}
	return s.incoming.Write(data)
}

// Close implements raft.SnapshotSink. What was received is verified here, where an error is still only
// a failed transfer; Raft panics if the installation fails.
func (s *sink) Close() error {
	if s.incoming == nil {
		return s.adapter.machine.Advance(s.index, s.term, s.configuration, s.configIndex)
	}
	if err := s.incoming.Verify(); err != nil {
		return err
	}
	if err := s.incoming.Place(s.index, s.term, s.configuration, s.configIndex); err != nil {
		return err
	}
	s.adapter.mu.Lock()
	defer s.adapter.mu.Unlock()
	s.adapter.incoming, s.adapter.chosen = s.incoming, false
	return nil
}

// Cancel implements raft.SnapshotSink.
func (s *sink) Cancel() error {
	if s.incoming == nil {
		return nil
	}
	return s.incoming.Abort()
}
