package raftstore

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/raftstore/fsm"
)

// Store is a core.Store that one node of a cluster keeps. Its methods may be called concurrently.
type Store struct {
	config    Config
	dir       *dir
	machine   *fsm.Machine
	log       *durableLog
	transport raft.Transport
	adapter   *adapter
	raft      *raft.Raft // set once, in start
	queue     *queue
	leader    leadership
	barriers  barriers
	settling  single
	election  election
	installs  installs // watch's alone
	laggards  laggards

	stopping context.Context // ends with Close or a failure
	stop     context.CancelCauseFunc
	work     sync.WaitGroup

	raftMu      sync.Mutex // between start and shutdownRaft
	raftStopped bool

	failOnce sync.Once
	failed   chan error // gets one error and is closed

	closeOnce sync.Once
	closeErr  error
}

var _ core.Store = (*Store)(nil)

// shutdownPatience bounds Close when a disk hangs.
const shutdownPatience = 10 * time.Second

// Open opens the store in config.Dir, or begins a cluster there. It verifies what it finds first:
// CodeCorrupt names the file and says what to do, CodeUnsupported a newer format, CodeUnavailable that
// another process has the directory. A node that is a cluster of its own can take writes when Open
// returns; otherwise the cluster elects a leader in the background. ctx bounds Open only.
func Open(ctx context.Context, config Config) (*Store, error) {
	if err := config.complete(); err != nil {
		return nil, err
	}
	s := newStore(config)
	alone, err := s.openFiles()
	if err == nil {
		err = s.start()
	}
	if err == nil && alone {
		err = s.leadAlone(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func newStore(config Config) *Store {
	s := &Store{config: config, failed: make(chan error, 1), queue: newQueue(config.Now, config.Node)}
	s.leader.init()
	s.stopping, s.stop = context.WithCancelCause(context.Background())
	return s
}

// openFiles opens all files, and bootstraps if they are empty.
func (s *Store) openFiles() (alone bool, err error) {
	if s.dir, err = openDir(s.config.Dir, s.config.Node); err != nil {
		return false, err
	}
	if !s.dir.has(stateFile) && s.dir.has(raftDir+"/"+metaFile) {
		s.config.Logger.Warn("the state file is missing, rebuilding it from the log", "file", s.dir.file(stateFile))
	}
	options := s.config.FSM
	options.AfterFunc, options.Failed, options.Stall = time.AfterFunc, s.fail, s.config.DiskStall
	if s.machine, err = fsm.Open(s.dir.file(stateFile), options); err != nil {
		return false, err
	}
	identity := s.machine.Identity()
	if s.config.Cluster != "" && identity.ID != "" && s.config.Cluster != identity.Cluster {
		return false, core.Errorf(core.CodeInvalid, "%s belongs to cluster %q, not to %q", s.config.Dir, identity.Cluster, s.config.Cluster).
			WithHint("give each cluster a directory of its own")
	}
	if s.log, err = openCheckedLog(s.dir, s.machine.Position(), &s.config, s.fail); err != nil {
		return false, err
	}
	s.log.keep = func() uint64 {
		_, before := s.machine.Durable()
		return before.RaftIndex
	}
	s.adapter = &adapter{machine: s.machine, fail: s.fail}
	s.transport = s.config.Transport
	if s.transport == nil {
		_, s.transport = raft.NewInmemTransport(raft.ServerAddress(s.config.Node))
	}
	return s.bootstrap()
}

// bootstrap begins a cluster in an empty directory, and tells whether this node is the only voter.
func (s *Store) bootstrap() (alone bool, err error) {
	config := s.config.raft(nil)
	empty, err := s.empty()
	if err != nil {
		return false, err
	}
	if empty && !s.config.Join {
		voters := s.config.Voters
		if len(voters) == 0 {
			voters = []raft.Server{{ID: config.LocalID, Address: s.transport.LocalAddr()}}
		}
		if err := s.beginLog(raft.Configuration{Servers: voters}); err != nil {
			return false, fmt.Errorf("begin a cluster in %s: %w", s.config.Dir, err)
		}
	}
	members, err := raft.GetConfiguration(config, s.adapter, s.log, s.log, s.adapter, quiet(s.transport))
	if err != nil {
		return false, fmt.Errorf("read the members: %w", err)
	}
	voters := 0
	for _, server := range members.Servers {
		if server.Suffrage == raft.Voter {
			voters++
			alone = server.ID == config.LocalID
		}
	}
	return alone && voters == 1, nil
}

const currentTerm = "CurrentTerm" // Raft's key

// empty reports whether the directory has never been part of a cluster. The first leader of any cluster
// has a term over 1, so term 1 without an entry is what a crash in beginLog has left.
func (s *Store) empty() (bool, error) {
	term, err := s.log.GetUint64([]byte(currentTerm))
	if err != nil {
		return false, err
	}
	last, err := s.log.LastIndex()
	return last == 0 && term <= 1 && s.machine.Position().RaftIndex == 0, err
}

// beginLog is raft.BootstrapCluster, but for an end of the process between its two steps: it would
// refuse to repeat them.
func (s *Store) beginLog(members raft.Configuration) error {
	if err := s.log.WAL.SetUint64([]byte(currentTerm), 1); err != nil {
		return err
	}
	return s.log.StoreLog(&raft.Log{Index: 1, Term: 1, Type: raft.LogConfiguration, Data: raft.EncodeConfiguration(members)})
}

func (s *Store) start() (err error) {
	notify := make(chan bool, 16)
	s.raftMu.Lock()
	defer s.raftMu.Unlock()
	if s.raftStopped {
		return core.Errorf(core.CodeUnavailable, "the store stopped while it was opened: %w", <-s.failed)
	}
	s.raft, err = raft.NewRaft(s.config.raft(notify), s.adapter, s.log, s.log, s.adapter, quiet(s.transport))
	if err != nil {
		return fmt.Errorf("start raft: %w", err)
	}
	s.work.Go(func() { s.followLeadership(notify) })
	s.work.Go(s.group)
	if s.config.Forward != nil {
		s.work.Go(s.watch)
		s.work.Go(s.watchElections)
	}
	return nil
}

// newIdentity makes the identity of a new cluster.
func (s *Store) newIdentity() fsm.Identity {
	var id [8]byte
	rand.Read(id[:]) // never fails
	name := s.config.Cluster
	if name == "" {
		name = defaultCluster
	}
	return fsm.Identity{Cluster: name, ID: hex.EncodeToString(id[:]), Generation: 1}
}

// fail stops the store for good: it takes no more writes and gives up leadership. Reads go on.
func (s *Store) fail(err error) {
	s.failOnce.Do(func() {
		s.config.Logger.Error("the store has stopped", "error", err)
		s.queue.close(core.Errorf(core.CodeUnavailable, "the store of node %q has stopped: %w", s.config.Node, err).
			WithHint("make room or replace the disk, then restart instard: it checks its files and goes on from what is durable"))
		s.failed <- err
		close(s.failed)
		s.stop(err)
		go func() { // not here: fail is called by goroutines that the shutdown waits for
			if err := s.shutdownRaft(); err != nil {
				s.config.Logger.Error("the store has not ended", "error", err)
			}
		}()
	})
}

// shutdownRaft ends Raft, or keeps it from starting.
func (s *Store) shutdownRaft() error {
	s.raftMu.Lock()
	r := s.raft
	s.raftStopped = true
	s.raftMu.Unlock()
	if r == nil {
		if s.transport == nil {
			return nil
		}
		return closeTransport(s.transport)
	}
	future := r.Shutdown()
	err := closeTransport(s.transport) // ends requests to nodes that do not answer, which Raft waits for
	ended := make(chan error, 1)
	go func() { ended <- errors.Join(err, future.Error()) }()
	select {
	case err := <-ended:
		return err
	case <-time.After(shutdownPatience):
		return core.Errorf(core.CodeTimeout, "raft has not ended after %s: a disk may hang", shutdownPatience)
	}
}

// Failed gives the error that stopped the store, once. The process should end then: a node that cannot
// write must not lead, and after a failed write only reading the files anew tells what they have.
func (s *Store) Failed() <-chan error { return s.failed }

// Close stops the store and closes its files. Writes that wait get CodeUnavailable or CodeTimeout.
func (s *Store) Close() error {
	s.closeOnce.Do(func() {
		s.queue.close(core.Errorf(core.CodeUnavailable, "the store of node %q is closed", s.config.Node))
		s.stop(errors.New("the store is closed"))
		var errs []error
		if err := s.shutdownRaft(); err != nil {
			s.closeErr = err // what is still in use cannot be closed
			return
		}
		s.work.Wait()
		if s.config.Forward != nil {
			errs = append(errs, s.config.Forward.Close())
		}
		if s.log != nil {
			errs = append(errs, s.log.Close())
		}
		if s.machine != nil {
			errs = append(errs, s.machine.Close())
		}
		if s.dir != nil {
			errs = append(errs, s.dir.close())
		}
		s.closeErr = errors.Join(errs...)
	})
	return s.closeErr
}

// Origin names the log: cluster name, cluster id and generation. Empty as long as a new node has not
// heard from its cluster.
func (s *Store) Origin() string { return s.machine.Identity().Origin() }

// ClusterName is the name that the cluster was begun with.
func (s *Store) ClusterName() string { return s.machine.Identity().Cluster }

// ClusterID is the random id that the cluster was begun with; a restore keeps it.
func (s *Store) ClusterID() string { return s.machine.Identity().ID }

// Generation is 1 in a new cluster and grows with every restore.
func (s *Store) Generation() uint64 { return s.machine.Identity().Generation }

// Node is this node's name.
func (s *Store) Node() string { return s.config.Node }
