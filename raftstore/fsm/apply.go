package fsm

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/audit"
)

// Apply applies entries to what is in memory; the flusher brings that to the file soon after, and until then
// it is Raft's log that keeps it. For each entry Apply gives the outcomes of its transactions; entries
// that were applied before give none. It waits while too much is in memory. An error means that nothing
// of the batch was applied and that the machine has stopped for good: opening it anew, and applying the
// log again, is what can go on.
func (m *Machine) Apply(entries []Entry) ([][]Outcome, error) {
	if err := m.awaitRoom(); err != nil {
		return nil, err
	}
	m.applying.Lock()
	defer m.applying.Unlock()
	outcomes, err := m.apply(entries)
	if err != nil {
		err = fmt.Errorf("apply to %s: %w", m.path, err)
		m.stop(err)
	}
	return outcomes, err
}

func (m *Machine) apply(entries []Entry) ([][]Outcome, error) {
	if err := m.Failure(); err != nil {
		return nil, err
	}
	v, err := m.acquire()
	if err != nil {
		return nil, err
	}
	defer v.release()
	b := newBatch(v, m.growing, m.tree)
	outcomes := make([][]Outcome, len(entries))
	for i := range entries {
		if outcomes[i], err = b.entry(&entries[i]); err != nil {
			return nil, fmt.Errorf("entry %d: %w", entries[i].Index, err)
		}
	}
	if b.position.RaftIndex == v.position.RaftIndex {
		return outcomes, nil
	}
	b.finish()
	m.publish(b)
	return outcomes, nil
}

// publish makes visible what a batch has done.
func (m *Machine) publish(b *batch) {
	m.tree = b.tree
	m.mu.Lock()
	m.position, m.identity = b.position, b.identity
	p := m.growing
	p.position, p.dirty = b.position, true
	if b.newIdentity != nil {
		p.identity = b.newIdentity
	}
	if b.newConfiguration != nil {
		p.configuration = b.newConfiguration
	}
	full := p.bytes >= m.options.FlushBytes
	close(m.changed)
	m.changed = make(chan struct{})
	m.mu.Unlock()
	signal(m.wake)
	if full {
		signal(m.urgent)
	}
}

// batch applies entries: it reads what is there from a view, whose first layer it adds to.
type batch struct {
	view *view
	into *pending

	position         Position
	identity         Identity
	origin           string
	tree             audit.Frontier
	newIdentity      []byte // sealed
	newConfiguration []byte // sealed
	scan             audit.View
}

func newBatch(v *view, into *pending, tree audit.Frontier) *batch {
	v.limit = math.MaxUint64 // a transaction sees what those before it did
	return &batch{view: v, into: into, position: v.position, identity: v.identity, origin: v.identity.Origin(), tree: tree.Clone()}
}

func (b *batch) finish() { b.position.Root = b.tree.Root() }

func (b *batch) entry(e *Entry) ([]Outcome, error) {
	if e.Index <= b.position.RaftIndex {
		return nil, nil
	}
	b.position.RaftIndex, b.position.RaftTerm = e.Index, e.Term
	if e.Type == Configuration {
		b.position.ConfigIndex = e.Index
		b.newConfiguration = seal(bytes.Clone(e.Data))
		return nil, nil
	}
	if len(e.Data) == 0 {
		return nil, damaged("a command without content")
	}
	switch body := e.Data[1:]; e.Data[0] {
	case commandGroup:
		var outcomes []Outcome
		err := decodeGroup(bytes.Clone(body), func(record []byte) error {
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
	b.newIdentity = seal(bytes.Clone(data))
	return nil
}

// record applies one transaction, and keeps raw. A refusal is an outcome; an error stops the machine.
func (b *batch) record(raw []byte) (Outcome, error) {
	if err := b.scan.Scan(raw); err != nil {
		return Outcome{}, err
	}
	if receipt, ok, err := b.replay(b.scan.RequestID); ok || err != nil {
		return Outcome{Receipt: receipt}, err
	}
	if b.scan.Time < b.position.Time {
		// The leader takes care of this; a record that broke the log's order would never verify again.
		return Outcome{Err: core.Errorf(core.CodeInternal, "the transaction's time is before that of record %d", b.position.Seq)}, nil
	}
	for i := range b.scan.Ops {
		if conflict, err := b.check(&b.scan.Ops[i]); conflict != nil || err != nil {
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
	seq := b.request(id)
	if seq == 0 {
		return core.Receipt{}, false, nil
	}
	leaf := b.view.leaf(seq)
	if len(leaf) < hashSize {
		return core.Receipt{}, false, damaged("request id %q: record %d is not in the tree", id, seq)
	}
	return core.Receipt{Origin: b.origin, Seq: seq, LeafHash: core.Hash(leaf[:hashSize]), Replayed: true}, true, nil
}

// request finds the record that a request id has made; 0: none, or it is forgotten.
func (b *batch) request(id []byte) uint64 {
	for _, layer := range b.view.layers {
		if seq, ok := layer.request(id); ok {
			return seq
		}
	}
	if value := b.view.tx.Bucket(bucketRequests).Get(id); value != nil {
		return binary.BigEndian.Uint64(value)
	}
	return 0
}

// object finds what is there of an object; length 0: nothing.
func (b *batch) object(op *audit.OpView) (pointer, error) {
	p, err := b.view.now(string(op.Kind), string(op.ID))
	if p.length == 0 {
		p = pointer{}
	}
	return p, err
}

// check compares an operation's IfSeq with what is there.
func (b *batch) check(op *audit.OpView) (conflict, err error) {
	if op.IfSeq == core.AnySeq {
		return nil, nil
	}
	old, err := b.object(op)
	if err != nil || old.seq == op.IfSeq {
		return nil, err
	}
	return conflictOf(op, old.seq), nil
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
	hashes := make([]byte, 0, 2*hashSize)
	b.tree.Append(leaf, func(_ uint, _ uint64, hash core.Hash) { hashes = append(hashes, hash[:]...) })
	b.into.append(raw, hashes)
	for i := range b.scan.Ops {
		if err := b.operation(seq, &b.scan.Ops[i]); err != nil {
			return Outcome{}, err
		}
	}
	if id := b.scan.RequestID; len(id) > 0 {
		b.into.remember(id, seq)
	}
	b.position.Seq, b.position.Time = seq, b.scan.Time
	return Outcome{Receipt: core.Receipt{Origin: b.origin, Seq: seq, LeafHash: leaf}}, b.forget(seq)
}

func (b *batch) operation(seq uint64, op *audit.OpView) error {
	old, err := b.object(op)
	if err != nil {
		return err
	}
	exists := old.length > 0
	next := pointer{seq: seq, created: seq}
	if exists {
		next.created = old.created
	}
	switch {
	case op.Delete && !exists:
		return nil
	case op.Delete:
		b.position.Objects--
	default:
		if !exists {
			b.position.Objects++
		}
		next.offset, next.length = uint32(op.Offset), uint32(len(op.Value)) //nolint:gosec // bounded by MaxTxnBytes
	}
	b.into.put(op.Kind, op.ID, next)
	return nil
}

// forget drops the request id that falls out of the window with record seq. It goes by the log alone,
// so every node forgets the same id at the same record.
func (b *batch) forget(seq uint64) error {
	if seq <= b.position.Window {
		return nil
	}
	old := seq - b.position.Window
	var view audit.View
	if err := view.Scan(b.view.record(old)); err != nil {
		return damaged("record %d: %w", old, err)
	}
	if len(view.RequestID) > 0 && b.request(view.RequestID) == old {
		b.into.remember(view.RequestID, 0)
	}
	return nil
}
