package state

import (
	"iter"
	"maps"
	"strings"
	"sync"

	"github.com/tidwall/btree"

	"github.com/instarhq/instar/core"
)

// objects is a set of tables. What View hands out is never written again: a writer takes a draft, which
// shares everything with its origin and copies the nodes of the trees on its way to what it writes.
type objects struct {
	tables map[core.Kind]*table
	drafts *sync.Mutex            // taking a copy of a tree marks the tree, so one at a time
	own    map[core.Kind]struct{} // tables that nobody else sees yet; nil: may not be written
}

func newObjects() *objects {
	o := &objects{tables: map[core.Kind]*table{}, drafts: &sync.Mutex{}}
	for kind := range decoders {
		o.tables[kind] = newTable()
	}
	return o
}

// draft is a continuation of o that can be written.
func (o *objects) draft() *objects {
	return &objects{tables: maps.Clone(o.tables), drafts: o.drafts, own: map[core.Kind]struct{}{}}
}

// freeze ends the writing of a draft.
func (o *objects) freeze() { o.own = nil }

func (o *objects) get(kind core.Kind, id string) *entry {
	e, _ := o.tables[kind].byID.Get(&entry{id: id})
	return e
}

func (o *objects) put(kind core.Kind, e *entry) { o.writable(kind).put(e) }

// delete removes the object with the given id, and returns it; nil if there is none.
func (o *objects) delete(kind core.Kind, id string) *entry {
	if o.get(kind, id) == nil {
		return nil
	}
	return o.writable(kind).delete(id)
}

// writable is the table of a kind for this draft alone.
func (o *objects) writable(kind core.Kind) *table {
	if _, mine := o.own[kind]; !mine {
		o.drafts.Lock()
		o.tables[kind] = o.tables[kind].copy()
		o.drafts.Unlock()
		o.own[kind] = struct{}{}
	}
	return o.tables[kind]
}

// readable is the table of a kind as it is now, whatever is written while it is read.
func (o *objects) readable(kind core.Kind) *table {
	t := o.tables[kind]
	if _, mine := o.own[kind]; mine {
		return t.copy()
	}
	return t
}

// table holds the objects of one kind, by id and by the keys that they have.
type table struct {
	byID    *btree.BTreeG[*entry]
	indexes [len(indexes)]*btree.BTreeG[*entry]
}

// indexes are the secondary ones, in the order of table.indexes.
var indexes = [...]struct {
	name Index
	key  func(*entry) string
}{
	{ByService, func(e *entry) string { return e.keys.service }},
	{ByNode, func(e *entry) string { return e.keys.node }},
	{ByParent, func(e *entry) string { return e.keys.parent }},
}

func newTable() *table {
	options := btree.Options{NoLocks: true}
	t := &table{byID: btree.NewBTreeGOptions(func(a, b *entry) bool { return a.id < b.id }, options)}
	for i := range indexes {
		key := indexes[i].key
		t.indexes[i] = btree.NewBTreeGOptions(func(a, b *entry) bool {
			if c := strings.Compare(key(a), key(b)); c != 0 {
				return c < 0
			}
			return a.id < b.id
		}, options)
	}
	return t
}

func (t *table) copy() *table {
	c := &table{byID: t.byID.Copy()}
	for i := range t.indexes {
		c.indexes[i] = t.indexes[i].Copy()
	}
	return c
}

func (t *table) put(e *entry) {
	old, replaced := t.byID.Set(e)
	for i := range indexes {
		key := indexes[i].key(e)
		if replaced {
			if before := indexes[i].key(old); before != "" && before != key {
				t.indexes[i].Delete(old)
			}
		}
		if key != "" {
			t.indexes[i].Set(e)
		}
	}
}

func (t *table) delete(id string) *entry {
	old, found := t.byID.Delete(&entry{id: id})
	if !found {
		return nil
	}
	for i := range indexes {
		if indexes[i].key(old) != "" {
			t.indexes[i].Delete(old)
		}
	}
	return old
}

// prefixed yields the entries whose id starts with prefix, ordered by id.
func (t *table) prefixed(prefix string) iter.Seq[*entry] {
	return func(yield func(*entry) bool) {
		t.byID.Ascend(&entry{id: prefix}, func(e *entry) bool {
			return strings.HasPrefix(e.id, prefix) && yield(e)
		})
	}
}

// indexed yields the entries whose index has the given key, ordered by id.
func (t *table) indexed(index Index, key string) iter.Seq[*entry] {
	return func(yield func(*entry) bool) {
		for i := range indexes {
			if indexes[i].name != index {
				continue
			}
			from := &entry{keys: keys{service: key, node: key, parent: key}}
			t.indexes[i].Ascend(from, func(e *entry) bool {
				return indexes[i].key(e) == key && yield(e)
			})
		}
	}
}
