package coretest

import (
	"context"
	"fmt"
	"slices"
	"sort"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/instarhq/instar/core"
)

// model is the store as one would explain it: a list of states, each a copy of the one before.
type model struct {
	states   []map[string]core.Object // by "kind/id"; states[0] is empty
	requests map[string]uint64
}

func (m *model) seq() uint64 { return uint64(len(m.states) - 1) }

// propose gives the object that a transaction conflicts on, or applies it.
func (m *model) propose(txn core.Txn) (conflict string) {
	next := make(map[string]core.Object, len(m.states[m.seq()]))
	for key, object := range m.states[m.seq()] {
		next[key] = object
	}
	for _, op := range txn.Ops {
		key := string(op.Kind) + "/" + op.ID
		have, exists := m.states[m.seq()][key]
		if op.IfSeq != core.AnySeq && op.IfSeq != have.Seq {
			return key
		}
		object := core.Object{Kind: op.Kind, ID: op.ID, Seq: m.seq() + 1, Created: m.seq() + 1, Value: op.Value}
		if exists {
			object.Created = have.Created
		}
		next[key] = object
		if op.Delete {
			delete(next, key)
		}
	}
	m.states = append(m.states, next)
	return ""
}

var (
	modelKinds = []core.Kind{core.KindService, core.KindRoute, core.KindRouteStatus}
	modelIDs   = []string{"a", "a/1", "a/10", "ab", "b"}
)

func testModel(t *testing.T, open func(t *testing.T) core.Store) {
	// One store for every sequence of steps would remember the last one's state, and a new store per
	// sequence is slow for the real one: the ids are made unique instead.
	s := open(t)
	run := 0
	rapid.Check(t, func(r *rapid.T) {
		run++
		c := &checker{store: s, prefix: fmt.Sprintf("run%d.", run), base: s.Seq(), model: model{
			states: []map[string]core.Object{{}}, requests: make(map[string]uint64),
		}}
		r.Repeat(map[string]func(*rapid.T){
			"propose": c.propose,
			"get":     c.get,
			"list":    c.list,
			"feed":    c.feed,
		})
	})
}

type checker struct {
	store  core.Store
	prefix string // of every id of this run
	base   uint64 // the store's sequence number when the run began
	model  model
}

func (c *checker) drawAt(r *rapid.T) (state uint64, at uint64) {
	state = rapid.Uint64Range(0, c.model.seq()).Draw(r, "at")
	if at = c.base + state; at == 0 { // before the first record there is nothing to name
		return c.model.seq(), 0
	}
	return state, at
}

func (c *checker) propose(r *rapid.T) {
	t := core.Txn{Meta: core.Meta{Principal: "test:model", Verb: "model.step"}}
	if rapid.IntRange(0, 3).Draw(r, "with request id") == 0 {
		t.Meta.RequestID = c.prefix + rapid.SampledFrom([]string{"r1", "r2", "r3"}).Draw(r, "request id")
	}
	modelTxn := t
	taken := make(map[string]bool)
	for range rapid.IntRange(1, 3).Draw(r, "operations") {
		kind := rapid.SampledFrom(modelKinds).Draw(r, "kind")
		id := rapid.SampledFrom(modelIDs).Draw(r, "id")
		key := string(kind) + "/" + id
		if taken[key] {
			continue
		}
		taken[key] = true
		have := c.model.states[c.model.seq()][key].Seq
		op := core.Op{Kind: kind, ID: id, Delete: rapid.Bool().Draw(r, "delete")}
		op.IfSeq = rapid.SampledFrom([]uint64{have, have, have, core.AnySeq, 0, c.model.seq()}).Draw(r, "if seq")
		if op.Delete && op.IfSeq == 0 {
			op.IfSeq = core.AnySeq
		}
		if !op.Delete {
			op.Value = rapid.SliceOfN(rapid.Byte(), 1, 20).Draw(r, "value")
		}
		modelTxn.Ops = append(modelTxn.Ops, op)
		op.ID = c.prefix + op.ID
		if op.IfSeq != 0 && op.IfSeq != core.AnySeq {
			op.IfSeq += c.base
		}
		t.Ops = append(t.Ops, op)
	}
	c.compare(r, t, modelTxn)
}

func (c *checker) compare(r *rapid.T, t, modelTxn core.Txn) {
	receipt, err := c.store.Propose(context.Background(), t)
	if first, ok := c.model.requests[t.Meta.RequestID]; ok {
		if err != nil || !receipt.Replayed || receipt.Seq != c.base+first {
			r.Fatalf("replay of %q: %+v, %v; want %d", t.Meta.RequestID, receipt, err, c.base+first)
		}
		return
	}
	if conflict := c.model.propose(modelTxn); conflict != "" {
		kind, id, _ := strings.Cut(conflict, "/")
		e, ok := core.AsError(err)
		if !ok || e.Code != core.CodeConflict || e.Object != kind+"/"+c.prefix+id {
			r.Fatalf("propose %s: %+v, %v; want a conflict on %s", describe(t), receipt, err, conflict)
		}
		return
	}
	if err != nil || receipt.Replayed || receipt.Seq != c.base+c.model.seq() {
		r.Fatalf("propose %s: %+v, %v; want %d", describe(t), receipt, err, c.base+c.model.seq())
	}
	if t.Meta.RequestID != "" {
		c.model.requests[t.Meta.RequestID] = c.model.seq()
	}
}

func (c *checker) get(r *rapid.T) {
	kind := rapid.SampledFrom(modelKinds).Draw(r, "kind")
	id := rapid.SampledFrom(modelIDs).Draw(r, "id")
	state, at := c.drawAt(r)
	want, exists := c.model.states[state][string(kind)+"/"+id]
	got, err := c.store.Get(context.Background(), kind, c.prefix+id, at)
	if !exists {
		if !core.IsNotFound(err) {
			r.Fatalf("get %s/%s as of %d: %+v, %v; want not found", kind, id, at, got, err)
		}
		return
	}
	c.same(r, got, want, err)
}

func (c *checker) same(r *rapid.T, got, want core.Object, err error) {
	if err != nil || got.Kind != want.Kind || got.ID != c.prefix+want.ID || got.Seq != c.base+want.Seq ||
		got.Created != c.base+want.Created || string(got.Value) != string(want.Value) {
		r.Fatalf("got %+v, %v; want %+v (after %d)", got, err, want, c.base)
	}
}

func (c *checker) list(r *rapid.T) {
	kind := rapid.SampledFrom(modelKinds).Draw(r, "kind")
	prefix := rapid.SampledFrom([]string{"", "a", "a/", "a/1", "b", "c"}).Draw(r, "prefix")
	state, at := c.drawAt(r)
	var want []core.Object
	for _, object := range c.model.states[state] {
		if object.Kind == kind && strings.HasPrefix(object.ID, prefix) {
			want = append(want, object)
		}
	}
	sort.Slice(want, func(i, j int) bool { return want[i].ID < want[j].ID })
	got, err := c.store.List(context.Background(), kind, c.prefix+prefix, at)
	if err != nil || len(got) != len(want) {
		r.Fatalf("list %s %q as of %d: %d objects, %v; want %d", kind, prefix, at, len(got), err, len(want))
	}
	for i := range want {
		c.same(r, got[i], want[i], nil)
	}
}

func (c *checker) feed(r *rapid.T) {
	state, _ := c.drawAt(r)
	records, err := take(context.Background(), c.store, c.base+state, int(c.model.seq()-state))
	if err != nil {
		r.Fatal(err)
	}
	for i, record := range records {
		var keys []string
		for _, op := range record.Txn.Ops {
			keys = append(keys, string(op.Kind)+"/"+strings.TrimPrefix(op.ID, c.prefix))
		}
		written := c.model.states[state+uint64(i)+1]
		for key, object := range written {
			if object.Seq == state+uint64(i)+1 && !slices.Contains(keys, key) {
				r.Fatalf("record %d does not name %s, which it wrote", record.Seq, key)
			}
		}
	}
}
