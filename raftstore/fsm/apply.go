package fsm

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"

	bolt "go.etcd.io/bbolt"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/audit"
)

// Apply applies entries in one transaction of the file, which is synced before Apply returns. For each
// entry it gives the outcomes of its transactions; entries that were applied before give none. An error
// means that nothing of the batch was applied and that the machine has stopped for good: after a failed
// write or sync nobody knows what the disk has, so only opening the file anew can tell.
func (m *Machine) Apply(entries []Entry) ([][]Outcome, error) {
	if err := m.Failure(); err != nil {
		return nil, err
	}
	outcomes, err := m.apply(entries)
	if err != nil {
		err = fmt.Errorf("apply to %s: %w", m.path, err)
		m.mu.Lock()
		m.failure = err
		m.mu.Unlock()
	}
	return outcomes, err
}

func (m *Machine) apply(entries []Entry) ([][]Outcome, error) {
	b, outcomes, err := m.commit(entries)
	if err != nil || b == nil {
		return outcomes, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.position, m.identity, m.tree = b.position, b.identity, b.tree
	close(m.changed)
	m.changed = make(chan struct{})
	return outcomes, nil
}

// commit writes the batch and returns it, or none if there was nothing new in it.
func (m *Machine) commit(entries []Entry) (*batch, [][]Outcome, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.db == nil {
		return nil, nil, errClosed()
	}
	tx, err := m.db.Begin(true)
	if err != nil {
		return nil, nil, err
	}
	defer tx.Rollback() //nolint:errcheck // without effect after Commit
	b := newBatch(tx, m.position, m.identity, m.tree)
	outcomes := make([][]Outcome, len(entries))
	for i := range entries {
		if outcomes[i], err = b.entry(&entries[i]); err != nil {
			return nil, nil, fmt.Errorf("entry %d: %w", entries[i].Index, err)
		}
	}
	if b.position.RaftIndex == m.position.RaftIndex {
		return nil, outcomes, nil
	}
	if err := b.finish(); err != nil {
		return nil, nil, err
	}
	return b, outcomes, tx.Commit()
}

// batch is one transaction of the file.
type batch struct {
	state, records, leaves, objects, history, requests *bolt.Bucket

	position Position
	identity Identity
	origin   string
	tree     audit.Frontier
	view     audit.View
}

// sequentialFill fills pages of buckets that only ever grow at their end.
const sequentialFill = 1.0

func newBatch(tx *bolt.Tx, position Position, identity Identity, tree audit.Frontier) *batch {
	b := &batch{
		state: tx.Bucket(bucketState), records: tx.Bucket(bucketRecords), leaves: tx.Bucket(bucketTree),
		objects: tx.Bucket(bucketObjects), history: tx.Bucket(bucketHistory), requests: tx.Bucket(bucketRequests),
		position: position, identity: identity, origin: identity.Origin(), tree: tree.Clone(),
	}
	b.records.FillPercent, b.leaves.FillPercent = sequentialFill, sequentialFill
	return b
}

func (b *batch) finish() error {
	b.position.Root = b.tree.Root()
	return b.state.Put(keyPosition, b.position.encode())
}

func (b *batch) entry(e *Entry) ([]Outcome, error) {
	if e.Index <= b.position.RaftIndex {
		return nil, nil
	}
	b.position.RaftIndex, b.position.RaftTerm = e.Index, e.Term
	if e.Type == Configuration {
		b.position.ConfigIndex = e.Index
		return nil, b.state.Put(keyConfiguration, seal(bytes.Clone(e.Data)))
	}
	if len(e.Data) == 0 {
		return nil, damaged("a command without content")
	}
	switch body := e.Data[1:]; e.Data[0] {
	case commandGroup:
		var outcomes []Outcome
		err := decodeGroup(body, func(record []byte) error {
			outcome, err := b.record(record)
			outcomes = append(outcomes, outcome)
			return err
		})
		return outcomes, err
	case commandIdentity:
		return nil, b.setIdentity(body)
	}
	return nil, core.Errorf(core.CodeUnsupported, "the command has type %d, which this instard does not know", e.Data[0]).
		WithHint("this node is older than the leader: install the leader's version of instard")
}

// setIdentity is without effect on a machine that has one.
func (b *batch) setIdentity(data []byte) error {
	if b.identity.ID != "" {
		return nil
	}
	var identity Identity
	if err := json.Unmarshal(data, &identity); err != nil {
		return damaged("the identity does not decode: %w", err)
	}
	b.identity, b.origin = identity, identity.Origin()
	return b.state.Put(keyIdentity, seal(bytes.Clone(data)))
}

// record applies one transaction. A refusal is an outcome; an error stops the machine.
func (b *batch) record(raw []byte) (Outcome, error) {
	if err := b.view.Scan(raw); err != nil {
		return Outcome{}, err
	}
	if receipt, ok, err := b.replay(b.view.RequestID); ok || err != nil {
		return Outcome{Receipt: receipt}, err
	}
	if b.view.Time < b.position.Time {
		// The leader takes care of this; a record that broke the log's order would never verify again.
		return Outcome{Err: core.Errorf(core.CodeInternal, "the transaction's time is before that of record %d", b.position.Seq)}, nil
	}
	for i := range b.view.Ops {
		if conflict, err := b.check(&b.view.Ops[i]); conflict != nil || err != nil {
			return Outcome{Err: conflict}, err
		}
	}
	return b.write(raw)
}

// replay answers a request id that was answered before.
func (b *batch) replay(id []byte) (core.Receipt, bool, error) {
	if len(id) == 0 {
		return core.Receipt{}, false, nil
	}
	value := b.requests.Get(id)
	if value == nil {
		return core.Receipt{}, false, nil
	}
	seq := binary.BigEndian.Uint64(value)
	leaf := b.leaves.Get(seqKey(seq))
	if len(leaf) < hashSize {
		return core.Receipt{}, false, damaged("request id %q: record %d is not in the tree", id, seq)
	}
	return core.Receipt{Origin: b.origin, Seq: seq, LeafHash: core.Hash(leaf[:hashSize]), Replayed: true}, true, nil
}

// check compares an operation's IfSeq with what is there.
func (b *batch) check(op *audit.OpView) (conflict, err error) {
	if op.IfSeq == core.AnySeq {
		return nil, nil
	}
	have := uint64(0)
	if value := b.objects.Get(objectKey(op.Kind, op.ID)); value != nil {
		p, ok := objectPointer(value)
		if !ok {
			return nil, damaged("object %s/%s has a bad pointer", op.Kind, op.ID)
		}
		have = p.seq
	}
	if have == op.IfSeq {
		return nil, nil
	}
	return conflictOf(op, have), nil
}

func conflictOf(op *audit.OpView, have uint64) error {
	var e *core.Error
	switch {
	case have == 0:
		e = core.Errorf(core.CodeConflict, "%s %q does not exist, the writer saw it at %d", op.Kind, op.ID, op.IfSeq)
	case op.IfSeq == 0:
		e = core.Errorf(core.CodeConflict, "%s %q exists already, since %d", op.Kind, op.ID, have)
	default:
		e = core.Errorf(core.CodeConflict, "%s %q changed at %d, the writer saw it at %d", op.Kind, op.ID, have, op.IfSeq)
	}
	return e.WithObject(core.Kind(op.Kind), string(op.ID))
}

// write appends the record and does what it says.
func (b *batch) write(raw []byte) (Outcome, error) {
	seq := b.position.Seq + 1
	leaf := audit.LeafHash(raw)
	var hashes []byte
	b.tree.Append(leaf, func(_ uint, _ uint64, hash core.Hash) { hashes = append(hashes, hash[:]...) })
	if err := b.records.Put(seqKey(seq), raw); err != nil {
		return Outcome{}, err
	}
	if err := b.leaves.Put(seqKey(seq), hashes); err != nil {
		return Outcome{}, err
	}
	for i := range b.view.Ops {
		if err := b.operation(seq, &b.view.Ops[i]); err != nil {
			return Outcome{}, err
		}
	}
	if id := b.view.RequestID; len(id) > 0 {
		if err := b.requests.Put(bytes.Clone(id), seqKey(seq)); err != nil {
			return Outcome{}, err
		}
	}
	b.position.Seq, b.position.Time = seq, b.view.Time
	return Outcome{Receipt: core.Receipt{Origin: b.origin, Seq: seq, LeafHash: leaf}}, b.forget(seq)
}

func (b *batch) operation(seq uint64, op *audit.OpView) error {
	key := objectKey(op.Kind, op.ID)
	next := pointer{seq: seq, created: seq}
	old := b.objects.Get(key)
	if old != nil {
		p, ok := objectPointer(old)
		if !ok {
			return damaged("object %s/%s has a bad pointer", op.Kind, op.ID)
		}
		next.created = p.created
	}
	switch {
	case op.Delete && old == nil:
		return nil
	case op.Delete:
		b.position.Objects--
		if err := b.objects.Delete(key); err != nil {
			return err
		}
	default:
		if old == nil {
			b.position.Objects++
		}
		next.offset, next.length = uint32(op.Offset), uint32(len(op.Value)) //nolint:gosec // bounded by MaxTxnBytes
		if err := b.objects.Put(key, next.object()); err != nil {
			return err
		}
	}
	return b.history.Put(historyKey(key, seq), next.history())
}

// forget drops the request id that falls out of the window with record seq. It goes by the log alone,
// so every node forgets the same id at the same record.
func (b *batch) forget(seq uint64) error {
	if seq <= b.position.Window {
		return nil
	}
	old := seq - b.position.Window
	var view audit.View
	if err := view.Scan(b.records.Get(seqKey(old))); err != nil {
		return damaged("record %d: %w", old, err)
	}
	if len(view.RequestID) == 0 || !bytes.Equal(b.requests.Get(view.RequestID), seqKey(old)) {
		return nil
	}
	return b.requests.Delete(bytes.Clone(view.RequestID))
}
