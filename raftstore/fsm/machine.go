package fsm

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/audit"
)

// Options tune a machine; the zero value is right outside of tests.
type Options struct {
	// Window replaces DefaultWindow in a file that is new. All nodes of a cluster must agree.
	Window uint64
	// VerifyBytes bounds the file size up to which Open verifies every record; above, it verifies the
	// structure and the newest records, and Verify is left to the caller. Default 64 MiB, which takes
	// less than half a second.
	VerifyBytes int64

	// AfterFunc is time.AfterFunc: when the file is written, and when that takes too long, is all that time
	// decides here. Without it the file is written at FlushBytes, when asked, and by Close.
	AfterFunc func(time.Duration, func()) *time.Timer
	// FlushEvery is for how long what was applied may stay in memory only; default 100ms. It may be lost
	// there: Raft's log has it.
	FlushEvery time.Duration
	// FlushBytes makes a flush begin at once when so much is in memory. Default 4 MiB.
	FlushBytes int
	// PendingBytes is how much may be in memory before Apply waits, counting what maps and slices take
	// beside the records themselves, so that it bounds their number as well. Default 32 MiB.
	PendingBytes int
	// Stall is for how long a write of FlushBytes to the file may take before the machine gives up; a larger
	// one may take longer in proportion. Default 20s.
	Stall time.Duration
	// Failed, if not nil, is told once why the machine has stopped, by whatever goroutine found out.
	Failed func(error)
}

func (o *Options) complete() {
	o.VerifyBytes = cmp.Or(o.VerifyBytes, defaultVerifyBytes)
	o.Window = cmp.Or(o.Window, DefaultWindow)
	o.FlushEvery = cmp.Or(o.FlushEvery, defaultFlushEvery)
	o.FlushBytes = cmp.Or(o.FlushBytes, defaultFlushBytes)
	o.PendingBytes = cmp.Or(o.PendingBytes, defaultPendingBytes)
	o.Stall = cmp.Or(o.Stall, defaultStall)
}

const (
	defaultVerifyBytes  = 64 << 20
	defaultFlushEvery   = 100 * time.Millisecond
	defaultFlushBytes   = 4 << 20
	defaultPendingBytes = 32 << 20
	defaultStall        = 20 * time.Second

	// mapSlack is mapped beyond the file's end, where it takes nothing but addresses: bbolt cannot move its
	// map while a read transaction, such as a snapshot's on its way to another node, is open, and whoever
	// begins one waits as well.
	mapSlack = 16 << 30
	// growBytes is by how much the file grows at a time.
	growBytes = 4 << 20
	// lockPatience is short: Open's caller has locked the directory already.
	lockPatience = 5 * time.Second
)

// Machine is the state machine on one bbolt file, which is a little behind: what was applied last is in
// memory only, and in Raft's log. Apply and Install are called from one goroutine at a time; everything
// else may be called at any time.
type Machine struct {
	path    string
	options Options

	flush    sync.Mutex // held by whoever writes or replaces the file; taken before applying
	applying sync.Mutex // held while a batch is applied; taken before mu
	tree     audit.Frontier

	mu            sync.RWMutex // short: nothing waits for a disk under it
	file          *file        // nil: closed
	growing       *pending     // what Apply adds to
	flushing      *pending     // what is being written to the file; nil: nothing
	position      Position     // of the newest that was applied
	durable       Position     // of the file
	durableBefore Position
	identity      Identity
	changed       chan struct{} // closed and replaced after every batch
	room          chan struct{} // closed and replaced after every flush
	epoch         uint64        // counts Installs: a feed cannot go on over one
	failure       error         // after it nothing is applied any more

	wake, urgent chan struct{} // there is something to flush; and at once
	failed       chan struct{} // closed with the failure
	stalled      atomic.Bool   // a write to the file hangs
	closing      chan struct{} // closed by Close
	closeOnce    sync.Once
	flusherEnded chan struct{}
	old          sync.WaitGroup // files that were replaced, until their readers are done
}

// file is an open file and its readers.
type file struct {
	*bolt.DB
	readers sync.WaitGroup // is not added to after Machine.file is another
}

// close waits for readers.
func (f *file) close() error {
	f.readers.Wait()
	return f.Close()
}

// Open opens the file at path, or makes it. What it finds is verified first: CodeCorrupt names the
// file, the place and what to do, and nothing was changed then.
func Open(path string, options Options) (*Machine, error) {
	options.complete()
	m := &Machine{
		path: path, options: options, changed: make(chan struct{}), room: make(chan struct{}),
		wake: make(chan struct{}, 1), urgent: make(chan struct{}, 1), failed: make(chan struct{}),
		closing: make(chan struct{}), flusherEnded: make(chan struct{}),
	}
	switch _, err := os.Stat(path); {
	case errors.Is(err, fs.ErrNotExist):
		if err := create(path, options.Window); err != nil {
			return nil, fmt.Errorf("create %s: %w", path, err)
		}
	case err != nil:
		return nil, err
	default:
		if err := checkFile(path, options.VerifyBytes); err != nil {
			return nil, err
		}
	}
	now, err := openFile(path)
	if err != nil {
		return nil, err
	}
	m.use(now)
	go m.runFlusher()
	return m, nil
}

// create makes an empty file under another name first, so that a crash leaves none or a whole one.
func create(path string, window uint64) error {
	temporary := path + ".new"
	if err := os.Remove(temporary); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	db, err := bolt.Open(temporary, 0o600, &bolt.Options{NoFreelistSync: true, FreelistType: bolt.FreelistMapType})
	if err != nil {
		return err
	}
	err = db.Update(func(tx *bolt.Tx) error {
		for _, name := range buckets {
			if _, err := tx.CreateBucket(name); err != nil {
				return err
			}
		}
		empty := Position{Window: window, Root: audit.EmptyRoot()}
		return tx.Bucket(bucketState).Put(keyPosition, empty.encode())
	})
	if err := errors.Join(err, db.Close()); err != nil {
		return err
	}
	return rename(temporary, path)
}

// rename puts a synced file in place, durably.
func rename(from, to string) error {
	if err := os.Rename(from, to); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(to))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// opened is a file with what is kept of it in memory.
type opened struct {
	file     *file
	position Position
	identity Identity
	tree     audit.Frontier
}

func openFile(path string) (*opened, error) {
	size := int64(0)
	if info, err := os.Stat(path); err == nil {
		size = info.Size()
	}
	o := &opened{}
	err := guard(path, func() error {
		db, err := bolt.Open(path, 0o600, &bolt.Options{
			// The list of free pages is found anew at each start: one thing less to write, and to trust.
			NoFreelistSync: true, FreelistType: bolt.FreelistMapType,
			InitialMmapSize: int(min(2*size+mapSlack, math.MaxInt/4)), Timeout: lockPatience, NoStatistics: true,
		})
		if err != nil {
			return fmt.Errorf("open: %w", err)
		}
		db.AllocSize = growBytes
		if err := db.View(o.load); err != nil {
			return errors.Join(err, db.Close())
		}
		o.file = &file{DB: db}
		return nil
	})
	return o, err
}

func (o *opened) load(tx *bolt.Tx) (err error) {
	if o.position, err = readPosition(tx); err != nil {
		return err
	}
	if o.identity, err = readIdentity(tx); err != nil {
		return err
	}
	nodes := func(level uint, index uint64) (core.Hash, error) { return treeNode(tx, level, index) }
	o.tree, err = audit.FrontierAt(nodes, o.position.Seq)
	return err
}

// use makes the file the machine's. Whoever calls it holds applying and mu, or is Open.
func (m *Machine) use(o *opened) {
	m.file, m.position, m.identity, m.tree = o.file, o.position, o.identity, o.tree
	m.durable, m.durableBefore = o.position, Position{}
	m.growing, m.flushing = newPending(o.position), nil
}

// Close flushes and closes the file. Readers that are still at work end first. It does not wait for a
// write that hangs, and the file stays open then.
func (m *Machine) Close() (err error) {
	m.closeOnce.Do(func() { err = m.close() })
	return err
}

func (m *Machine) close() error {
	close(m.closing)
	select {
	case <-m.flusherEnded:
	case <-m.failed:
	}
	if m.stalled.Load() {
		return m.Failure()
	}
	m.flush.Lock() // of a write that has failed, the end
	defer m.flush.Unlock()
	m.mu.Lock()
	file := m.file
	m.file = nil
	close(m.changed) // wakes feeds, which find the machine closed
	m.changed = make(chan struct{})
	m.mu.Unlock()
	err := file.close()
	m.old.Wait()
	return err
}

func (m *Machine) isClosed() bool {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.file == nil
}

// Position returns how far the machine is.
func (m *Machine) Position() Position {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.position
}

// Identity returns the log's identity; zero as long as the cluster has none.
func (m *Machine) Identity() Identity {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.identity
}

// Failure is why the machine stopped applying, or nil.
func (m *Machine) Failure() error {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.failure
}

// Changed is closed after the next batch, Install or Close.
func (m *Machine) Changed() <-chan struct{} {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.changed
}
