package coretest

import (
	"bytes"
	"slices"
	"sort"
	"strings"

	"github.com/instarhq/instar/core"
)

// index has every version of every object of one kind. Both id lists are sorted: live ones for reads
// of the present, which are the frequent ones, and all that ever were for reads of the past.
type index struct {
	kind     core.Kind
	versions map[string][]version
	live     []string
	ever     []string
}

type version struct {
	seq     uint64
	created uint64
	value   []byte
	deleted bool
}

func newIndex(kind core.Kind) *index {
	return &index{kind: kind, versions: make(map[string][]version)}
}

// check compares IfSeq with what is there.
func (x *index) check(op *core.Op) error {
	if op.IfSeq == core.AnySeq {
		return nil
	}
	have := uint64(0)
	if v := x.last(op.ID); v != nil && !v.deleted {
		have = v.seq
	}
	switch {
	case have == op.IfSeq:
		return nil
	case have == 0:
		return core.Errorf(core.CodeConflict, "%s %q does not exist, the writer saw it at %d", op.Kind, op.ID, op.IfSeq).WithObject(op.Kind, op.ID)
	case op.IfSeq == 0:
		return core.Errorf(core.CodeConflict, "%s %q exists already, since %d", op.Kind, op.ID, have).WithObject(op.Kind, op.ID)
	}
	return core.Errorf(core.CodeConflict, "%s %q changed at %d, the writer saw it at %d", op.Kind, op.ID, have, op.IfSeq).WithObject(op.Kind, op.ID)
}

func (x *index) last(id string) *version {
	versions := x.versions[id]
	if len(versions) == 0 {
		return nil
	}
	return &versions[len(versions)-1]
}

func (x *index) write(op *core.Op, seq uint64) {
	last := x.last(op.ID)
	exists := last != nil && !last.deleted
	next := version{seq: seq, created: seq, value: op.Value, deleted: op.Delete}
	if exists {
		next.created = last.created
	}
	switch {
	case op.Delete && !exists:
		return
	case op.Delete:
		i, _ := slices.BinarySearch(x.live, op.ID)
		x.live = slices.Delete(x.live, i, i+1)
	case !exists:
		i, _ := slices.BinarySearch(x.live, op.ID)
		x.live = slices.Insert(x.live, i, op.ID)
	}
	if last == nil {
		i, _ := slices.BinarySearch(x.ever, op.ID)
		x.ever = slices.Insert(x.ever, i, op.ID)
	}
	x.versions[op.ID] = append(x.versions[op.ID], next)
}

func (x *index) get(id string, at uint64) (core.Object, bool) {
	versions := x.versions[id]
	after := sort.Search(len(versions), func(i int) bool { return versions[i].seq > at })
	if after == 0 || versions[after-1].deleted {
		return core.Object{}, false
	}
	v := &versions[after-1]
	return core.Object{Kind: x.kind, ID: id, Seq: v.seq, Created: v.created, Value: bytes.Clone(v.value)}, true
}

func (x *index) list(prefix string, at uint64, now bool) []core.Object {
	ids := x.ever
	if now {
		ids = x.live
	}
	first, _ := slices.BinarySearch(ids, prefix)
	var objects []core.Object
	for _, id := range ids[first:] {
		if !strings.HasPrefix(id, prefix) {
			break
		}
		if object, ok := x.get(id, at); ok {
			objects = append(objects, object)
		}
	}
	return objects
}
