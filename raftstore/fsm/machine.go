package fsm

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
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
}

const (
	defaultVerifyBytes = 64 << 20

	// mapSlack is mapped beyond the file's end, so that growing seldom has to wait for readers: bbolt
	// cannot move its map while a read transaction, such as a snapshot's, is open.
	mapSlack = 1 << 30
	// growBytes is by how much the file grows at a time.
	growBytes = 4 << 20
	// lockPatience is short: Open's caller has locked the directory already.
	lockPatience = 5 * time.Second
)

// Machine is the state machine on one bbolt file. Apply and Install are called from one goroutine at a
// time; everything else may be called at any time.
type Machine struct {
	path    string
	options Options

	mu       sync.RWMutex // held for reading by whoever uses db
	db       *bolt.DB
	position Position
	identity Identity
	changed  chan struct{} // closed and replaced after every batch
	epoch    uint64        // counts Installs: a feed cannot go on over one
	failure  error         // after it nothing is applied any more

	tree audit.Frontier // Apply's alone
}

// Open opens the file at path, or makes it. What it finds is verified first: CodeCorrupt names the
// file, the place and what to do, and nothing was changed then.
func Open(path string, options Options) (*Machine, error) {
	if options.VerifyBytes == 0 {
		options.VerifyBytes = defaultVerifyBytes
	}
	if options.Window == 0 {
		options.Window = DefaultWindow
	}
	m := &Machine{path: path, options: options, changed: make(chan struct{})}
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
	if err := m.open(); err != nil {
		return nil, err
	}
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

// open opens m.path and loads what is kept in memory.
func (m *Machine) open() error {
	size := int64(0)
	if info, err := os.Stat(m.path); err == nil {
		size = info.Size()
	}
	return guard(m.path, func() error {
		db, err := bolt.Open(m.path, 0o600, &bolt.Options{
			// The list of free pages is found anew at each start: one thing less to write, and to trust.
			NoFreelistSync: true, FreelistType: bolt.FreelistMapType,
			InitialMmapSize: int(2*size + mapSlack), Timeout: lockPatience, NoStatistics: true,
		})
		if err != nil {
			return fmt.Errorf("open: %w", err)
		}
		db.AllocSize = growBytes
		if err := m.load(db); err != nil {
			return errors.Join(err, db.Close())
		}
		m.db = db
		return nil
	})
}

func (m *Machine) load(db *bolt.DB) error {
	return db.View(func(tx *bolt.Tx) error {
		var err error
		if m.position, err = readPosition(tx); err != nil {
			return err
		}
		if m.identity, err = readIdentity(tx); err != nil {
			return err
		}
		nodes := func(level uint, index uint64) (core.Hash, error) { return treeNode(tx, level, index) }
		m.tree, err = audit.FrontierAt(nodes, m.position.Seq)
		return err
	})
}

// Close closes the file. Readers that are still at work end first.
func (m *Machine) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.db == nil {
		return nil
	}
	err := m.db.Close()
	m.db = nil
	close(m.changed) // wakes feeds, which find the machine closed
	m.changed = make(chan struct{})
	return err
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

// view runs a read transaction. What m.position says is in it, or older than it.
func (m *Machine) view(read func(tx *bolt.Tx) error) error {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.db == nil {
		return errClosed()
	}
	err := m.db.View(read)
	if core.CodeOf(err) == core.CodeCorrupt {
		return explain(m.path, err)
	}
	return err
}

func errClosed() error { return core.Errorf(core.CodeUnavailable, "the store is closed") }
