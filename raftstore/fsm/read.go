package fsm

import (
	"bytes"
	"encoding/binary"
	"strconv"

	bolt "go.etcd.io/bbolt"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/audit"
)

// Get reads an object as of record at; 0: now.
func (m *Machine) Get(kind core.Kind, id string, at uint64) (core.Object, error) {
	var object core.Object
	err := m.view(func(v *view) error {
		p, err := v.find(string(kind), id, at)
		if err != nil {
			return err
		}
		if p.length == 0 {
			return core.Errorf(core.CodeNotFound, "%s %q does not exist%s", kind, id, asOf(at)).WithObject(kind, id)
		}
		object, err = v.object(kind, id, p)
		return err
	})
	return object, err
}

func asOf(at uint64) string {
	if at == 0 {
		return ""
	}
	return " as of " + strconv.FormatUint(at, 10)
}

// find gives a pointer of length 0 if the object does not exist.
func (v *view) find(kind, id string, at uint64) (pointer, error) {
	if at == 0 {
		return v.now(kind, id)
	}
	if err := v.reached(at); err != nil {
		return pointer{}, err
	}
	if p, ok := v.newest(kind, id, at); ok {
		return p, nil
	}
	return version(v.tx.Bucket(bucketHistory).Cursor(), objectKey(kind, id), at)
}

// fileObject finds an object of the file; length 0: there is none.
func fileObject(tx *bolt.Tx, kind, id string) (pointer, error) {
	value := tx.Bucket(bucketObjects).Get(objectKey(kind, id))
	if value == nil {
		return pointer{}, nil
	}
	p, ok := objectPointer(value)
	if !ok {
		return p, damaged("object %s/%s has a bad pointer", kind, id)
	}
	return p, nil
}

// reached refuses to read what is not there yet, on this replica.
func (v *view) reached(at uint64) error {
	if at > v.position.Seq {
		return core.Errorf(core.CodeUnavailable, "this replica is at %d and cannot read as of %d yet", v.position.Seq, at)
	}
	return nil
}

// version finds the newest version of an object that is not newer than at.
func version(c *bolt.Cursor, object []byte, at uint64) (pointer, error) {
	k, v := c.Seek(historyKey(bytes.Clone(object), at))
	if k == nil {
		k, v = c.Last()
	} else if got, seq, ok := cutHistoryKey(k); !ok || !bytes.Equal(got, object) || seq > at {
		k, v = c.Prev()
	}
	got, seq, ok := cutHistoryKey(k)
	if !ok || !bytes.Equal(got, object) {
		return pointer{}, nil
	}
	p, ok := historyPointer(seq, v)
	if !ok {
		return p, damaged("history of %q at %d has a bad pointer", object, seq)
	}
	return p, nil
}

func (v *view) object(kind core.Kind, id string, p pointer) (core.Object, error) {
	value, ok := v.value(p)
	if !ok {
		return core.Object{}, damaged("object %s/%s points outside of record %d", kind, id, p.seq)
	}
	return core.Object{Kind: kind, ID: id, Seq: p.seq, Created: p.created, Value: bytes.Clone(value)}, nil
}

// Record reads one record.
func (m *Machine) Record(seq uint64) (core.Record, error) {
	var record core.Record
	err := m.view(func(v *view) error {
		if seq == 0 || seq > v.position.Seq {
			return core.Errorf(core.CodeNotFound, "record %d does not exist, the log has %d", seq, v.position.Seq)
		}
		raw := v.record(seq)
		if raw == nil {
			return damaged("record %d is missing", seq)
		}
		var err error
		record, err = audit.DecodeRecord(seq, bytes.Clone(raw))
		return err
	})
	return record, err
}

// Records reads up to limit records after the given one, and no more than fit in about maxBytes. The
// epoch changes when an Install replaces the log under the reader's feet.
func (m *Machine) Records(after uint64, limit, maxBytes int) (records []core.Record, epoch uint64, err error) {
	err = m.view(func(v *view) error {
		epoch = v.epoch
		next := v.walk(after)
		for seq, size := after+1, 0; seq <= v.position.Seq && len(records) < limit && size < maxBytes; seq++ {
			raw := next()
			if raw == nil {
				return damaged("record %d is missing", seq)
			}
			record, err := audit.DecodeRecord(seq, bytes.Clone(raw))
			if err != nil {
				return err
			}
			records = append(records, record)
			size += len(raw)
		}
		return nil
	})
	return records, epoch, err
}

// walk gives the records after the given one, one with every call; nil for one that is missing.
func (v *view) walk(after uint64) func() []byte {
	c := v.tx.Bucket(bucketRecords).Cursor()
	key, raw := c.Seek(seqKey(after + 1))
	return func() []byte {
		after++
		if key == nil {
			return v.record(after)
		}
		found := raw
		if binary.BigEndian.Uint64(key) != after {
			found = nil
		}
		key, raw = c.Next()
		return found
	}
}

// Tree gives read with a reader of tree nodes and the head of the tree.
func (m *Machine) Tree(read func(nodes audit.Nodes, head core.TreeHead) error) error {
	return m.view(func(v *view) error {
		return read(v.node, core.TreeHead{Origin: v.identity.Origin(), Size: v.position.Seq, Root: v.position.Root})
	})
}

// Configuration reads the configuration and the Raft position that the file has: the state as it is
// without Raft's log.
func (m *Machine) Configuration() (configuration []byte, position Position, err error) {
	err = m.view(func(v *view) error {
		configuration, position, err = snapshotOf(v.tx)
		return err
	})
	return configuration, position, err
}

func snapshotOf(tx *bolt.Tx) ([]byte, Position, error) {
	position, err := readPosition(tx)
	if err != nil {
		return nil, position, err
	}
	configuration, err := readConfiguration(tx)
	return configuration, position, err
}
