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
	err := m.view(func(tx *bolt.Tx) error {
		p, err := m.find(tx, kind, id, at)
		if err != nil {
			return err
		}
		if p.length == 0 {
			return core.Errorf(core.CodeNotFound, "%s %q does not exist%s", kind, id, asOf(at)).WithObject(kind, id)
		}
		object, err = readObject(tx, kind, id, p)
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
func (m *Machine) find(tx *bolt.Tx, kind core.Kind, id string, at uint64) (pointer, error) {
	key := objectKey(string(kind), id)
	if at == 0 {
		value := tx.Bucket(bucketObjects).Get(key)
		if value == nil {
			return pointer{}, nil
		}
		p, ok := objectPointer(value)
		if !ok {
			return p, damaged("object %s/%s has a bad pointer", kind, id)
		}
		return p, nil
	}
	if err := m.reached(at); err != nil {
		return pointer{}, err
	}
	return version(tx.Bucket(bucketHistory).Cursor(), key, at)
}

// reached refuses to read what is not there yet, on this replica.
func (m *Machine) reached(at uint64) error {
	if at > m.position.Seq {
		return core.Errorf(core.CodeUnavailable, "this replica is at %d and cannot read as of %d yet", m.position.Seq, at)
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

func readObject(tx *bolt.Tx, kind core.Kind, id string, p pointer) (core.Object, error) {
	value, ok := p.value(tx)
	if !ok {
		return core.Object{}, damaged("object %s/%s points outside of record %d", kind, id, p.seq)
	}
	return core.Object{Kind: kind, ID: id, Seq: p.seq, Created: p.created, Value: bytes.Clone(value)}, nil
}

// List reads all objects of a kind whose id begins with prefix, by id, as of record at; 0: now.
func (m *Machine) List(kind core.Kind, prefix string, at uint64) ([]core.Object, error) {
	var objects []core.Object
	add := func(tx *bolt.Tx, key []byte, p pointer) error {
		object, err := readObject(tx, kind, string(key[len(kind)+1:]), p)
		objects = append(objects, object)
		return err
	}
	err := m.view(func(tx *bolt.Tx) error {
		first := objectKey(string(kind), prefix)
		if at == 0 {
			return listNow(tx, first, add)
		}
		if err := m.reached(at); err != nil {
			return err
		}
		return listThen(tx, first, at, add)
	})
	if err != nil {
		return nil, err
	}
	return objects, nil
}

func listNow(tx *bolt.Tx, first []byte, add func(*bolt.Tx, []byte, pointer) error) error {
	c := tx.Bucket(bucketObjects).Cursor()
	for key, value := c.Seek(first); bytes.HasPrefix(key, first); key, value = c.Next() {
		p, ok := objectPointer(value)
		if !ok {
			return damaged("object %q has a bad pointer", key)
		}
		if err := add(tx, key, p); err != nil {
			return err
		}
	}
	return nil
}

// listThen jumps from object to object, however many versions each has.
func listThen(tx *bolt.Tx, first []byte, at uint64, add func(*bolt.Tx, []byte, pointer) error) error {
	c, seek := tx.Bucket(bucketHistory).Cursor(), tx.Bucket(bucketHistory).Cursor()
	for key, _ := c.Seek(first); bytes.HasPrefix(key, first); {
		object, _, ok := cutHistoryKey(key)
		if !ok {
			return damaged("history has a bad key %q", key)
		}
		p, err := version(seek, object, at)
		if err != nil {
			return err
		}
		if p.length > 0 && bytes.HasPrefix(object, first) { // a prefix with a zero byte matches no object
			if err := add(tx, object, p); err != nil {
				return err
			}
		}
		key, _ = c.Seek(append(bytes.Clone(object), 1)) // behind every version: they have a 0 there
	}
	return nil
}

// Record reads one record.
func (m *Machine) Record(seq uint64) (core.Record, error) {
	var record core.Record
	err := m.view(func(tx *bolt.Tx) error {
		if seq == 0 || seq > m.position.Seq {
			return core.Errorf(core.CodeNotFound, "record %d does not exist, the log has %d", seq, m.position.Seq)
		}
		raw := tx.Bucket(bucketRecords).Get(seqKey(seq))
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
	err = m.view(func(tx *bolt.Tx) error {
		epoch = m.epoch
		c := tx.Bucket(bucketRecords).Cursor()
		size := 0
		for key, raw := c.Seek(seqKey(after + 1)); key != nil && len(records) < limit && size < maxBytes; key, raw = c.Next() {
			seq := binary.BigEndian.Uint64(key)
			if want := after + uint64(len(records)) + 1; seq != want {
				return damaged("record %d is missing", want)
			}
			if seq > m.position.Seq {
				break // committed, but Seq does not say so yet
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

// Tree gives read with a reader of tree nodes and the head of the tree.
func (m *Machine) Tree(read func(nodes audit.Nodes, head core.TreeHead) error) error {
	return m.view(func(tx *bolt.Tx) error {
		nodes := func(level uint, index uint64) (core.Hash, error) { return treeNode(tx, level, index) }
		return read(nodes, core.TreeHead{Origin: m.identity.Origin(), Size: m.position.Seq, Root: m.position.Root})
	})
}

// Configuration reads the newest configuration and the Raft position of one and the same moment.
func (m *Machine) Configuration() (configuration []byte, position Position, err error) {
	err = m.view(func(tx *bolt.Tx) error {
		configuration, position, err = snapshotOf(tx)
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
