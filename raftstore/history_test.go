package raftstore

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/instarhq/instar/core"
)

// history is what clients asked and were told, for porcupine to judge.
type history struct {
	began time.Time

	mu         sync.Mutex
	operations []porcupine.Operation
	acked      []acked
	refused    int
}

// Every value is written once, so that "the object is as I read it" and "it has this value" are the same.
type input struct {
	key   string
	read  bool
	value string // to write
	from  string // write only if this is the value; "*": whatever it is
}

type output struct {
	value    string // read; empty: none
	conflict bool
	unknown  bool // it may have happened, or happen later
}

var registers = porcupine.Model{
	Partition: func(all []porcupine.Operation) [][]porcupine.Operation {
		byKey := map[string][]porcupine.Operation{}
		for _, o := range all {
			key := o.Input.(input).key
			byKey[key] = append(byKey[key], o)
		}
		var parts [][]porcupine.Operation
		for _, part := range byKey {
			parts = append(parts, part)
		}
		return parts
	},
	Init: func() any { return "" },
	Step: func(state, in, out any) (bool, any) {
		value, i, o := state.(string), in.(input), out.(output)
		matches := i.from == "*" || i.from == value
		switch {
		case i.read:
			return o.value == value, value
		case o.unknown && !matches:
			return true, value
		case o.unknown:
			return true, i.value
		case o.conflict:
			return !matches, value
		}
		return matches, i.value
	},
	DescribeOperation: func(in, out any) string { return fmt.Sprintf("%+v -> %+v", in, out) },
}

func (h *history) add(client int, in input, call time.Duration, out output) {
	back := time.Since(h.began)
	if out.unknown {
		back = math.MaxInt64
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.operations = append(h.operations, porcupine.Operation{ClientId: client, Input: in, Call: int64(call), Output: out, Return: int64(back)})
}

// client works through whatever node pick gives until ctx ends.
func (h *history) client(ctx context.Context, id int, random *rand.Rand, pick func(int) *node) {
	for n := 0; ctx.Err() == nil; n++ {
		key := fmt.Sprint("key-", random.IntN(4))
		call := time.Since(h.began)
		var object core.Object
		known := h.read(ctx, key, func() *node { return pick(random.IntN(1 << 20)) }, &object)
		if known {
			h.add(id, input{key: key, read: true}, call, output{value: string(object.Value)})
		}
		in := input{key: key, value: fmt.Sprintf(`"%d-%d"`, id, n), from: "*"}
		ifSeq := core.AnySeq
		if known && random.IntN(2) == 0 {
			in.from, ifSeq = string(object.Value), object.Seq
		}
		txn := core.Txn{
			Meta: core.Meta{Principal: "client", Verb: "test.write", RequestID: fmt.Sprintf("%d-%d", id, n)},
			Ops:  []core.Op{{Kind: core.KindConfig, ID: key, Value: []byte(in.value), IfSeq: ifSeq}},
		}
		call = time.Since(h.began)
		h.add(id, in, call, h.write(ctx, txn, in.value, func() *node { return pick(random.IntN(1 << 20)) }))
		select {
		case <-time.After(time.Duration(random.IntN(20)) * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

// read is linearizable: it asks what is committed and waits for it.
func (h *history) read(ctx context.Context, key string, pick func() *node, object *core.Object) bool {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	n := pick()
	seq, err := n.ReadIndex(ctx)
	if err == nil {
		err = n.WaitApplied(ctx, seq)
	}
	if err == nil {
		*object, err = n.Get(ctx, core.KindConfig, key, 0)
	}
	return err == nil || core.IsNotFound(err)
}

// write repeats a transaction, on other nodes as well, until it knows what became of it.
func (h *history) write(ctx context.Context, txn core.Txn, id string, pick func() *node) output {
	for range 6 {
		attempt, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		receipt, err := pick().Propose(attempt, txn)
		cancel()
		switch {
		case err == nil:
			h.mu.Lock()
			h.acked = append(h.acked, acked{receipt, id})
			h.mu.Unlock()
			return output{}
		case core.IsConflict(err):
			// Not after an unknown outcome: a request id is answered before preconditions are looked at.
			return output{conflict: true}
		case !core.Retryable(err):
			panic(err) // a bug of the test
		}
		h.mu.Lock()
		h.refused++
		h.mu.Unlock()
	}
	// Whether it was certainly never proposed or may have been: nobody needs to have seen it.
	return output{unknown: true}
}

// judge checks the history, and that the log has every acknowledged write once and nothing twice.
func (h *history) judge(t *testing.T, c *nodes) {
	t.Helper()
	head := c.agree()
	s := c.leader().Store
	for _, a := range h.acked {
		record, err := s.Record(t.Context(), a.receipt.Seq)
		if err != nil || record.LeafHash != a.receipt.LeafHash || string(record.Txn.Ops[0].Value) != a.id {
			t.Fatalf("acknowledged write %s is not record %d: %v", a.id, a.receipt.Seq, err)
		}
	}
	proveInclusion(t, s, head, h.acked)
	seen := map[string]uint64{}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for record, err := range s.Changes(ctx, 0) {
		if err != nil && !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		if id := record.Txn.Meta.RequestID; seen[id] != 0 {
			t.Errorf("request %s happened twice, in record %d and %d", id, seen[id], record.Seq)
		} else {
			seen[id] = record.Seq
		}
		if record.Seq >= head.Size {
			break
		}
	}
	t.Logf("%d operations, %d acknowledged writes, %d attempts failed, %d records", len(h.operations), len(h.acked), h.refused, head.Size)
	if len(h.acked) < 10 {
		t.Errorf("only %d writes were acknowledged: the test has tested little", len(h.acked))
	}
	if result := porcupine.CheckOperationsTimeout(registers, h.operations, time.Minute); result != porcupine.Ok {
		t.Errorf("the history is not linearizable: %s", result)
	}
}
