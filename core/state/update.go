package state

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/hashicorp/go-memdb"

	"github.com/instarhq/instar/core"
)

// maxAttempts bounds how often Update runs its function against newer and newer views. Each object has
// one writing loop, so more than a few attempts mean that something is wrong.
const maxAttempts = 16

// Tx is a snapshot that can be written to. Reads see the writes.
type Tx struct {
	view    *View
	scratch *memdb.Txn // never committed: a private continuation of the snapshot
	ops     map[opKey]core.Op
	order   []opKey
	err     error
}

type opKey struct {
	kind core.Kind
	id   string
}

func (tx *Tx) txn() *memdb.Txn { return tx.scratch }

// Seq is the sequence number of the snapshot below the writes.
func (tx *Tx) Seq() uint64 { return tx.view.seq }

// Update runs fn on a snapshot and commits what it wrote as one transaction, with the sequence numbers
// of the written objects as preconditions. When one of them has changed meanwhile fn runs again on a
// newer snapshot, so it must not have effects of its own. When Update returns, View shows the
// transaction. If fn writes nothing, nothing is proposed and the receipt is zero. An error of fn is
// returned as it is.
func (s *State) Update(ctx context.Context, meta core.Meta, fn func(*Tx) error) (core.Receipt, error) {
	for attempt := 1; ; attempt++ {
		tx := s.begin()
		if err := fn(tx); err != nil {
			return core.Receipt{}, err
		}
		ops, err := tx.finish()
		if err != nil || len(ops) == 0 {
			return core.Receipt{}, err
		}
		receipt, err := s.source.Propose(ctx, core.Txn{Meta: meta, Ops: ops})
		if err == nil {
			return receipt, s.Wait(ctx, receipt.Seq)
		}
		if !core.IsConflict(err) || attempt == maxAttempts {
			return core.Receipt{}, fmt.Errorf("%s: %w", meta.Verb, err)
		}
		if err := s.Wait(ctx, s.source.Seq()); err != nil {
			return core.Receipt{}, err
		}
	}
}

func (s *State) begin() *Tx {
	s.mu.Lock()
	defer s.mu.Unlock()
	return &Tx{
		view:    &View{seq: s.seq, read: s.db.Txn(false)},
		scratch: s.db.Snapshot().Txn(true),
		ops:     map[opKey]core.Op{},
	}
}

func (tx *Tx) put(kind core.Kind, id string, value any) {
	data, err := json.Marshal(value)
	if err != nil {
		tx.fail(fmt.Errorf("encode %s %q: %w", kind, id, err))
		return
	}
	tx.record(core.Op{Kind: kind, ID: id, Value: data})
	e := &entry{id: id, seq: tx.view.seq, value: value, keys: keysOf(value)}
	if err := tx.scratch.Insert(string(kind), e); err != nil {
		tx.fail(fmt.Errorf("write %s %q: %w", kind, id, err))
	}
}

func (tx *Tx) delete(kind core.Kind, id string) {
	e := lookup(tx, kind, id)
	if e == nil {
		return
	}
	tx.record(core.Op{Kind: kind, ID: id, Delete: true})
	if err := tx.scratch.Delete(string(kind), e); err != nil {
		tx.fail(fmt.Errorf("delete %s %q: %w", kind, id, err))
	}
}

// record keeps the last write of each object, in the order of the first ones.
func (tx *Tx) record(op core.Op) {
	key := opKey{op.Kind, op.ID}
	if _, again := tx.ops[key]; !again {
		tx.order = append(tx.order, key)
	}
	if e := lookup(tx.view, op.Kind, op.ID); e != nil {
		op.IfSeq = e.seq
	}
	tx.ops[key] = op
}

func (tx *Tx) fail(err error) {
	if tx.err == nil {
		tx.err = err
	}
}

func (tx *Tx) finish() ([]core.Op, error) {
	tx.scratch.Abort()
	if tx.err != nil {
		return nil, tx.err
	}
	ops := make([]core.Op, 0, len(tx.order))
	for _, key := range tx.order {
		op := tx.ops[key]
		if op.Delete && op.IfSeq == 0 {
			continue // made and removed within this transaction
		}
		ops = append(ops, op)
	}
	return ops, nil
}
