package fsm

import (
	bolt "go.etcd.io/bbolt"

	"github.com/instarhq/instar/core"
)

// view is the state as of one record: the file as of one moment, and over it what the file does not
// have yet. The layers may go on growing, and may overlap with the file; position says what of them counts.
type view struct {
	tx       *bolt.Tx
	layers   []*pending // newest first
	position Position
	identity Identity
	epoch    uint64
	limit    uint64 // what newer records did is not seen: position.Seq, but for Apply

	done func() // nil in a view of a file that is no machine's
}

// acquire begins a view, which must be released.
func (m *Machine) acquire() (*view, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.file == nil {
		return nil, errClosed()
	}
	// The file comes under the same lock as the layers: else a flush could end in between, and what it
	// brought into the file would be in neither.
	tx, err := m.file.Begin(false)
	if err != nil {
		return nil, err
	}
	m.file.readers.Add(1)
	v := &view{tx: tx, position: m.position, identity: m.identity, epoch: m.epoch, limit: m.position.Seq, done: m.file.readers.Done}
	for _, layer := range []*pending{m.growing, m.flushing} {
		if layer != nil {
			v.layers = append(v.layers, layer)
		}
	}
	return v, nil
}

func (v *view) release() {
	_ = v.tx.Rollback() // a read transaction has nothing to lose
	v.done()
}

// view runs read on the state of this moment.
func (m *Machine) view(read func(v *view) error) error {
	v, err := m.acquire()
	if err != nil {
		return err
	}
	defer v.release()
	err = read(v)
	if core.CodeOf(err) == core.CodeCorrupt {
		return explain(m.path, err)
	}
	return err
}

// record reads record seq as it is stored; nil if it is missing. The slice is valid as long as the view.
func (v *view) record(seq uint64) []byte {
	for _, layer := range v.layers {
		if raw, _ := layer.record(seq); raw != nil {
			return raw
		}
	}
	return v.tx.Bucket(bucketRecords).Get(seqKey(seq))
}

// leaf reads the tree nodes that record seq has completed.
func (v *view) leaf(seq uint64) []byte {
	for _, layer := range v.layers {
		if _, hashes := layer.record(seq); hashes != nil {
			return hashes
		}
	}
	return v.tx.Bucket(bucketTree).Get(seqKey(seq))
}

// node is an audit.Nodes.
func (v *view) node(level uint, index uint64) (core.Hash, error) {
	return cutNode(v.leaf((index+1)<<level), level, index)
}

// newest finds the object's newest version that is not newer than at, and whether it is in a layer.
func (v *view) newest(kind, id string, at uint64) (pointer, bool) {
	for _, layer := range v.layers {
		if p, ok := layer.version(kind, id, at); ok {
			return p, true
		}
	}
	return pointer{}, false
}

// value reads what p points at; the slice is valid as long as the view.
func (v *view) value(p pointer) ([]byte, bool) {
	raw := v.record(p.seq)
	end := uint64(p.offset) + uint64(p.length)
	if end > uint64(len(raw)) {
		return nil, false
	}
	return raw[p.offset:end], true
}

// now finds what is there of an object at the end of the log; length 0: nothing.
func (v *view) now(kind, id string) (pointer, error) {
	if p, ok := v.newest(kind, id, v.limit); ok {
		return p, nil
	}
	return fileObject(v.tx, kind, id)
}
