package fsm

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	bolt "go.etcd.io/bbolt"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/audit"
)

// WriteTo writes the file with everything that was applied before the call, as of one moment, and says
// which moment that is. The machine goes on meanwhile; begin, if not nil, is called before the first byte.
func (m *Machine) WriteTo(w io.Writer, begin func(position Position, configuration []byte, identity Identity, size int64) error) error {
	if err := m.Flush(); err != nil {
		return err
	}
	return m.view(func(v *view) error {
		tx := v.tx
		configuration, position, err := snapshotOf(tx)
		if err != nil {
			return err
		}
		identity, err := readIdentity(tx)
		if err != nil {
			return err
		}
		if begin != nil {
			if err := begin(position, configuration, identity, tx.Size()); err != nil {
				return err
			}
		}
		if _, err := tx.WriteTo(w); err != nil {
			return fmt.Errorf("copy %s: %w", m.path, err)
		}
		return nil
	})
}

// Incoming is a file on its way to replace the machine's.
type Incoming struct {
	path string
	file *os.File
}

// NewIncoming begins a file beside the machine's, whose name ends in suffix. A file of that name that a
// crash has left is replaced.
func (m *Machine) NewIncoming(suffix string) (*Incoming, error) {
	path := m.path + "." + suffix
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	return &Incoming{path: path, file: file}, nil
}

// Write appends to the file.
func (in *Incoming) Write(data []byte) (int, error) { return in.file.Write(data) }

// Path is where the file is.
func (in *Incoming) Path() string { return in.path }

// Abort removes the file.
func (in *Incoming) Abort() error { return errors.Join(in.file.Close(), os.Remove(in.path)) }

// Verify ends writing and verifies all that was written.
func (in *Incoming) Verify() error {
	err := errors.Join(in.file.Sync(), in.file.Close())
	if err == nil {
		err = checkFile(in.path, 1<<62)
	}
	if err != nil {
		return errors.Join(err, os.Remove(in.path))
	}
	return nil
}

// Place gives the verified file its place in Raft's log: it stands for everything up to index.
func (in *Incoming) Place(index, term uint64, configuration []byte, configIndex uint64) error {
	return in.update(func(tx *bolt.Tx) error {
		position, err := readPosition(tx)
		if err != nil {
			return err
		}
		position.RaftIndex, position.RaftTerm, position.ConfigIndex, position.Installed = index, term, configIndex, index
		state := tx.Bucket(bucketState)
		if err := state.Put(keyConfiguration, seal(append([]byte(nil), configuration...))); err != nil {
			return err
		}
		return state.Put(keyPosition, position.encode())
	})
}

// Rename gives the verified file another identity, and appends the record that lineage makes of the
// old one. Both are there together, or neither.
func (in *Incoming) Rename(identity Identity, lineage func(old core.TreeHead, lastTime int64) ([]byte, error)) error {
	return in.update(func(tx *bolt.Tx) error {
		position, err := readPosition(tx)
		if err != nil {
			return err
		}
		old, err := readIdentity(tx)
		if err != nil {
			return err
		}
		raw, err := lineage(core.TreeHead{Origin: old.Origin(), Size: position.Seq, Root: position.Root}, position.Time)
		if err != nil {
			return err
		}
		nodes := func(level uint, index uint64) (core.Hash, error) { return treeNode(tx, level, index) }
		tree, err := audit.FrontierAt(nodes, position.Seq)
		if err != nil {
			return err
		}
		if err := writeIdentity(tx, identity); err != nil {
			return err
		}
		p := newPending(position)
		b := newBatch(&view{tx: tx, layers: []*pending{p}, position: position, identity: identity}, p, tree)
		outcome, err := b.record(raw)
		if err := errors.Join(err, outcome.Err); err != nil {
			return err
		}
		b.finish()
		p.position = b.position
		return p.write(tx)
	})
}

func (in *Incoming) update(change func(tx *bolt.Tx) error) error {
	return guard(in.path, func() error {
		db, err := bolt.Open(in.path, 0o600, &bolt.Options{NoFreelistSync: true, FreelistType: bolt.FreelistMapType, Timeout: lockPatience})
		if err != nil {
			return err
		}
		return errors.Join(db.Update(change), db.Close())
	})
}

// Remove removes the verified file.
func (in *Incoming) Remove() error { return os.Remove(in.path) }

// Head reads the verified file's identity and tree head.
func (in *Incoming) Head() (identity Identity, head core.TreeHead, err error) {
	err = guard(in.path, func() error {
		db, err := bolt.Open(in.path, 0o600, &bolt.Options{ReadOnly: true, Timeout: lockPatience})
		if err != nil {
			return err
		}
		err = db.View(func(tx *bolt.Tx) error {
			position, err := readPosition(tx)
			if err != nil {
				return err
			}
			identity, err = readIdentity(tx)
			head = core.TreeHead{Origin: identity.Origin(), Size: position.Seq, Root: position.Root}
			return err
		})
		return errors.Join(err, db.Close())
	})
	return identity, head, err
}

// Install puts the file in the machine's place; what was not in the old one yet is dropped with it. Readers
// go on with the old file until they are done; feeds that began before notice by the epoch. After a crash
// the machine opens with the one file or the other, whole.
func (m *Machine) Install(in *Incoming) error {
	m.flush.Lock()
	defer m.flush.Unlock()
	if err := m.Failure(); err != nil {
		return err
	}
	m.applying.Lock()
	defer m.applying.Unlock()
	if m.isClosed() {
		return errClosed()
	}
	err := rename(in.path, m.path)
	var now *opened
	if err == nil {
		now, err = openFile(m.path)
	}
	if err != nil {
		err = fmt.Errorf("install %s: %w", m.path, err)
		m.stop(err)
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	old := m.file                        // not nil: Close needs flush
	m.old.Go(func() { _ = old.close() }) // nothing of it is needed any more
	m.use(now)
	m.epoch++
	close(m.changed)
	m.changed = make(chan struct{})
	return nil
}
