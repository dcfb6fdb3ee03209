package fsm

import (
	"bytes"

	bolt "go.etcd.io/bbolt"

	"github.com/instarhq/instar/core"
)

// List reads all objects of a kind whose id begins with prefix, by id, as of record at; 0: now.
func (m *Machine) List(kind core.Kind, prefix string, at uint64) ([]core.Object, error) {
	var objects []core.Object
	err := m.view(func(v *view) (err error) {
		limit := v.limit
		if at > 0 {
			if err := v.reached(at); err != nil {
				return err
			}
			limit = at
		}
		l := &listing{view: v, kind: kind, newer: make(map[string]pointer)}
		for _, layer := range v.layers {
			layer.collect(string(kind), prefix, limit, l.newer)
		}
		l.ids = sortedKeys(l.newer)
		first := objectKey(string(kind), prefix)
		if at == 0 {
			err = listNow(v.tx, first, l.file)
		} else {
			err = listThen(v.tx, first, at, l.file)
		}
		if err == nil {
			err = l.until("", true)
		}
		objects = l.objects
		return err
	})
	if err != nil {
		return nil, err
	}
	return objects, nil
}

// listing merges what the file lists with what the layers have newer.
type listing struct {
	view    *view
	kind    core.Kind
	newer   map[string]pointer
	ids     []string // of newer, in order; those that are left
	objects []core.Object
}

// file takes the next object of the file.
func (l *listing) file(key []byte, p pointer) error {
	id := string(key[len(l.kind)+1:])
	if err := l.until(id, false); err != nil {
		return err
	}
	if _, ok := l.newer[id]; ok {
		return nil // until has it next
	}
	return l.add(id, p)
}

// until takes the newer objects before an id, or all that are left.
func (l *listing) until(id string, all bool) error {
	for ; len(l.ids) > 0 && (all || l.ids[0] < id); l.ids = l.ids[1:] {
		if p := l.newer[l.ids[0]]; p.length > 0 {
			if err := l.add(l.ids[0], p); err != nil {
				return err
			}
		}
	}
	return nil
}

func (l *listing) add(id string, p pointer) error {
	object, err := l.view.object(l.kind, id, p)
	l.objects = append(l.objects, object)
	return err
}

func listNow(tx *bolt.Tx, first []byte, add func([]byte, pointer) error) error {
	c := tx.Bucket(bucketObjects).Cursor()
	for key, value := c.Seek(first); bytes.HasPrefix(key, first); key, value = c.Next() {
		p, ok := objectPointer(value)
		if !ok {
			return damaged("object %q has a bad pointer", key)
		}
		if err := add(key, p); err != nil {
			return err
		}
	}
	return nil
}

// listThen jumps from object to object, however many versions each has.
func listThen(tx *bolt.Tx, first []byte, at uint64, add func([]byte, pointer) error) error {
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
			if err := add(object, p); err != nil {
				return err
			}
		}
		key, _ = c.Seek(append(bytes.Clone(object), 1)) // behind every version: they have a 0 there
	}
	return nil
}
