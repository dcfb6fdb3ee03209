package state

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/instarhq/instar/core"
)

// maxAttempts bounds how often Update runs its function against newer and newer views. Each object has
// one writing loop, so more than a few attempts mean that something is wrong.
const maxAttempts = 16

// opOverhead is an upper estimate of what an operation needs in a record beside its value, kind and id.
const opOverhead = 32

// Tx is a snapshot that can be written to. Reads see the writes.
type Tx struct {
	view    *View
	scratch *objects // a private continuation of the snapshot
	meta    core.Meta
	ops     map[opKey]core.Op
	order   []opKey
	size    int
	err     error
}

type opKey struct {
	kind core.Kind
	id   string
}

func (tx *Tx) objects() *objects { return tx.scratch }

// Seq is the sequence number of the snapshot below the writes.
func (tx *Tx) Seq() uint64 { return tx.view.seq }

// Size estimates how many bytes the transaction has in the log so far, rather too many than too few.
// The store refuses one of more than core.MaxTxnBytes.
func (tx *Tx) Size() int { return tx.size }

// Describe sets what the log says of the transaction, where it is known only when the function of
// Update has decided.
func (tx *Tx) Describe(verb, reason string) { tx.meta.Verb, tx.meta.Reason = verb, reason }

// Update runs fn on a snapshot and commits what it wrote as one transaction, with the sequence numbers
// of the written objects as preconditions. When one of them has changed meanwhile fn runs again on a
// newer snapshot, so it must not have effects of its own. When Update returns, View shows the
// transaction. If fn writes nothing, nothing is proposed and the receipt is zero. An error of fn is
// returned as it is.
//
// A request id in meta makes the transaction happen once: whatever fn finds when the request is
// repeated (that there is nothing left to do, or that it cannot be done again), the answer is the
// receipt of the first time, with Replayed set. If the store cannot say whether there was a first time, its
// error is returned and not fn's: what fn found is then no reason to give up.
func (s *State) Update(ctx context.Context, meta core.Meta, fn func(*Tx) error) (core.Receipt, error) {
	current := false // whether the snapshot has what the store had when fn was about to have the last word
	for attempt := 1; ; attempt++ {
		tx := s.begin(meta)
		ops, err := tx.run(fn)
		if err != nil || len(ops) == 0 {
			first, failure := s.answered(ctx, meta)
			newest := s.source.Seq()
			switch {
			case failure == nil:
				return first, s.Wait(ctx, first.Seq)
			case err != nil && core.Retryable(failure):
				return core.Receipt{}, failure
			case current || newest <= tx.Seq():
				return core.Receipt{}, err
			}
			// The view is a little behind the store, more on a busy machine: nobody is refused, or told that
			// there is nothing to do, for what has been written by now.
			if err := s.Wait(ctx, newest); err != nil {
				return core.Receipt{}, err
			}
			current = true
			continue
		}
		receipt, err := s.source.Propose(ctx, core.Txn{Meta: tx.meta, Ops: ops})
		if err == nil {
			return receipt, s.Wait(ctx, receipt.Seq)
		}
		if !core.IsConflict(err) || attempt == maxAttempts {
			return core.Receipt{}, fmt.Errorf("%s: %w", tx.meta.Verb, err)
		}
		if err := s.catchUp(ctx, tx.Seq(), attempt); err != nil {
			return core.Receipt{}, err
		}
	}
}

func (s *State) begin(meta core.Meta) *Tx {
	view := s.View()
	return &Tx{view: view, scratch: view.all.draft(), meta: meta, ops: map[opKey]core.Op{}}
}

// run calls fn and gives the operations that it wrote.
func (tx *Tx) run(fn func(*Tx) error) ([]core.Op, error) {
	if err := fn(tx); err != nil {
		return nil, err
	}
	return tx.finish()
}

// answered gives the receipt of a request id that has been answered before; an error that is not worth
// another try says that it has not. It proposes what can only be refused: the store looks at request ids
// before it looks at preconditions, and has by then applied what was committed before.
func (s *State) answered(ctx context.Context, meta core.Meta) (core.Receipt, error) {
	if meta.RequestID == "" {
		return core.Receipt{}, errNoRequest
	}
	never := core.Op{Kind: core.KindService, ID: "?request", Delete: true, IfSeq: core.AnySeq - 1}
	return s.source.Propose(ctx, core.Txn{Meta: meta, Ops: []core.Op{never}})
}

var errNoRequest = errors.New("the transaction has no request id")

// catchUp waits, after a conflict, until the view has moved past the one that was too old. A replica
// that does not know of the other write yet gets it a little later.
func (s *State) catchUp(ctx context.Context, old uint64, attempt int) error {
	if err := s.Wait(ctx, s.source.Seq()); err != nil || s.applied() > old {
		return err
	}
	short, cancel := context.WithTimeout(ctx, time.Duration(attempt)*10*time.Millisecond)
	defer cancel()
	if err := s.Wait(short, old+1); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return ctx.Err()
}

func (tx *Tx) put(kind core.Kind, id string, value any) {
	data, err := json.Marshal(value)
	if err != nil {
		tx.fail(fmt.Errorf("encode %s %q: %w", kind, id, err))
		return
	}
	tx.record(core.Op{Kind: kind, ID: id, Value: data})
	tx.scratch.put(kind, &entry{id: id, seq: tx.view.seq, value: value, keys: keysOf(value)})
}

func (tx *Tx) delete(kind core.Kind, id string) {
	if tx.scratch.delete(kind, id) != nil {
		tx.record(core.Op{Kind: kind, ID: id, Delete: true})
	}
}

// record keeps the last write of each object, in the order of the first ones.
func (tx *Tx) record(op core.Op) {
	key := opKey{op.Kind, op.ID}
	before, again := tx.ops[key]
	if !again {
		tx.order = append(tx.order, key)
		tx.size += opOverhead + len(op.Kind) + len(op.ID)
	}
	tx.size += len(op.Value) - len(before.Value)
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
