package coretest

import (
	"context"
	"iter"
	"sync"
	"time"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/audit"
)

// Store is a core.Store in memory. Its records are real ones: encoded, hashed and proven like those of
// raftstore, so that exports and proofs can be tested over it.
type Store struct {
	now    func() time.Time
	origin string
	node   string
	fault  func(core.Txn) error

	mu       sync.RWMutex
	records  []core.Record
	tree     tree
	objects  map[core.Kind]*index
	requests map[string]core.Receipt
	changed  chan struct{} // closed and replaced at every commit
}

var _ core.Store = (*Store)(nil)

// Option changes what NewStore makes.
type Option func(*Store)

// WithNow sets the clock that stamps transactions. The log's times never go back even if now does.
func WithNow(now func() time.Time) Option { return func(s *Store) { s.now = now } }

// WithOrigin sets the log's origin; the default is "test/0000000000000000/1".
func WithOrigin(origin string) Option { return func(s *Store) { s.origin = origin } }

// WithNode sets the node that transactions without an origin are stamped with; the default is "n1".
func WithNode(node string) Option { return func(s *Store) { s.node = node } }

// WithFault makes Propose fail with what fault returns, before anything is written; nil lets the
// transaction pass. It is called under the store's lock and must not use the store.
func WithFault(fault func(core.Txn) error) Option { return func(s *Store) { s.fault = fault } }

// NewStore makes an empty store.
func NewStore(options ...Option) *Store {
	s := &Store{
		now:      time.Now,
		origin:   "test/0000000000000000/1",
		node:     "n1",
		objects:  make(map[core.Kind]*index),
		requests: make(map[string]core.Receipt),
		changed:  make(chan struct{}),
	}
	for _, option := range options {
		option(s)
	}
	return s
}

// Propose implements core.Proposer.
func (s *Store) Propose(ctx context.Context, txn core.Txn) (core.Receipt, error) {
	if err := ctx.Err(); err != nil {
		return core.Receipt{}, core.Errorf(core.CodeTimeout, "transaction %q was not proposed: %w", txn.Meta.Verb, err)
	}
	if err := audit.Check(&txn); err != nil {
		return core.Receipt{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fault != nil {
		if err := s.fault(txn); err != nil {
			return core.Receipt{}, err
		}
	}
	if receipt, ok := s.requests[txn.Meta.RequestID]; ok {
		receipt.Replayed = true
		return receipt, nil
	}
	s.stamp(&txn.Meta)
	raw, err := audit.Encode(txn)
	if err != nil {
		return core.Receipt{}, err
	}
	for i := range txn.Ops {
		if err := s.index(txn.Ops[i].Kind).check(&txn.Ops[i]); err != nil {
			return core.Receipt{}, err
		}
	}
	return s.commit(raw)
}

func (s *Store) stamp(meta *core.Meta) {
	meta.Time = s.now().UTC().Round(0)
	if n := len(s.records); n > 0 {
		if last := s.records[n-1].Txn.Meta.Time; meta.Time.Before(last) {
			meta.Time = last
		}
	}
	if meta.Origin == "" {
		meta.Origin = s.node
	}
}

// commit reads the transaction back from its record, so that nothing is shared with the caller.
func (s *Store) commit(raw []byte) (core.Receipt, error) {
	seq := uint64(len(s.records)) + 1
	record, err := audit.DecodeRecord(seq, raw)
	if err != nil {
		return core.Receipt{}, err
	}
	for i := range record.Txn.Ops {
		s.index(record.Txn.Ops[i].Kind).write(&record.Txn.Ops[i], seq)
	}
	s.records = append(s.records, record)
	s.tree.add(record.LeafHash)
	receipt := core.Receipt{Origin: s.origin, Seq: seq, LeafHash: record.LeafHash}
	if id := record.Txn.Meta.RequestID; id != "" {
		s.requests[id] = receipt
	}
	close(s.changed)
	s.changed = make(chan struct{})
	return receipt, nil
}

func (s *Store) index(kind core.Kind) *index {
	x := s.objects[kind]
	if x == nil {
		x = newIndex(kind)
		s.objects[kind] = x
	}
	return x
}

// Seq implements core.Reader.
func (s *Store) Seq() uint64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return uint64(len(s.records))
}

// Get implements core.Reader.
func (s *Store) Get(ctx context.Context, kind core.Kind, id string, at uint64) (core.Object, error) {
	if err := ctx.Err(); err != nil {
		return core.Object{}, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	at, err := s.at(at)
	if err != nil {
		return core.Object{}, err
	}
	if x := s.objects[kind]; x != nil {
		if object, ok := x.get(id, at); ok {
			return object, nil
		}
	}
	return core.Object{}, core.Errorf(core.CodeNotFound, "%s %q does not exist as of %d", kind, id, at).WithObject(kind, id)
}

// List implements core.Reader.
func (s *Store) List(ctx context.Context, kind core.Kind, prefix string, at uint64) ([]core.Object, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	now := at == 0
	at, err := s.at(at)
	if err != nil {
		return nil, err
	}
	x := s.objects[kind]
	if x == nil {
		return nil, nil
	}
	return x.list(prefix, at, now), nil
}

func (s *Store) at(at uint64) (uint64, error) {
	newest := uint64(len(s.records))
	if at > newest {
		return 0, core.Errorf(core.CodeUnavailable, "this replica is at %d and cannot read as of %d yet", newest, at)
	}
	if at == 0 {
		return newest, nil
	}
	return at, nil
}

// Changes implements core.Feed.
func (s *Store) Changes(ctx context.Context, after uint64) iter.Seq2[core.Record, error] {
	return func(yield func(core.Record, error) bool) {
		for next := after; ; {
			s.mu.RLock()
			var batch []core.Record
			if next < uint64(len(s.records)) {
				batch = s.records[next:len(s.records):len(s.records)]
			}
			changed := s.changed
			s.mu.RUnlock()
			for _, record := range batch {
				if err := ctx.Err(); err != nil {
					yield(core.Record{}, err)
					return
				}
				if !yield(record, nil) {
					return
				}
			}
			next += uint64(len(batch))
			if len(batch) > 0 {
				continue
			}
			select {
			case <-changed:
			case <-ctx.Done():
				yield(core.Record{}, ctx.Err())
				return
			}
		}
	}
}
