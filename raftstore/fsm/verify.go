package fsm

import (
	"bytes"
	"context"

	bolt "go.etcd.io/bbolt"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/audit"
)

// Verify reads the whole file and computes anew all that can be computed from the records: hashes,
// tree, root, objects, history, request ids. Nothing in the file is left out, and so a flipped bit
// anywhere that matters is found. What is only in memory is brought to the file first. The machine goes
// on meanwhile.
func (m *Machine) Verify(ctx context.Context) error {
	if err := m.Flush(); err != nil {
		return err
	}
	return m.view(func(v *view) error { return verifyAll(v.tx, ctx.Err) })
}

// quickRecords is how many of the newest records verifyQuickly hashes.
const quickRecords = 10_000

// verifyQuickly visits every page, but hashes only the newest records.
func verifyQuickly(tx *bolt.Tx) error {
	position, err := verifyState(tx)
	if err != nil {
		return err
	}
	for _, name := range [][]byte{bucketTree, bucketObjects, bucketHistory, bucketRequests} {
		c := tx.Bucket(name).Cursor()
		var last []byte
		for key, _ := c.First(); key != nil; key, _ = c.Next() {
			if bytes.Compare(key, last) <= 0 && last != nil {
				return damaged("bucket %s: key %q is out of order", name, key)
			}
			last = key
		}
	}
	nodes := func(level uint, index uint64) (core.Hash, error) { return treeNode(tx, level, index) }
	root, err := audit.RootAt(nodes, position.Seq)
	if err != nil {
		return err
	}
	if root != position.Root {
		return damaged("the tree's root is %s, the position says %s", root, position.Root)
	}
	expected := uint64(0)
	c := tx.Bucket(bucketRecords).Cursor()
	for key, raw := c.First(); key != nil; key, raw = c.Next() {
		expected++
		if !bytes.Equal(key, seqKey(expected)) {
			return damaged("record %d is missing", expected)
		}
		if expected+quickRecords <= position.Seq {
			continue
		}
		leaf, err := treeNode(tx, 0, expected-1)
		if err != nil {
			return err
		}
		if got := audit.LeafHash(raw); got != leaf {
			return damaged("record %d has the leaf hash %s, the tree says %s", expected, got, leaf)
		}
	}
	if expected != position.Seq {
		return damaged("there are %d records, the position says %d", expected, position.Seq)
	}
	return nil
}

func verifyState(tx *bolt.Tx) (Position, error) {
	position, err := readPosition(tx)
	if err != nil {
		return position, err
	}
	if _, err := readIdentity(tx); err != nil {
		return position, err
	}
	if _, err := readConfiguration(tx); err != nil {
		return position, err
	}
	if position.ConfigIndex > 0 && tx.Bucket(bucketState).Get(keyConfiguration) == nil {
		return position, damaged("bucket state: the configuration is missing")
	}
	if position.Seq > 0 && tx.Bucket(bucketState).Get(keyIdentity) == nil {
		return position, damaged("bucket state: the identity is missing")
	}
	return position, nil
}

// replay is what verifyAll computes from the records.
type replay struct {
	tx       *bolt.Tx
	position Position
	tree     audit.Frontier
	view     audit.View
	time     int64
	objects  map[string]pointer // by object key
	versions uint64
	requests uint64
}

func verifyAll(tx *bolt.Tx, interrupted func() error) error {
	position, err := verifyState(tx)
	if err != nil {
		return err
	}
	r := &replay{tx: tx, position: position, objects: make(map[string]pointer)}
	c := tx.Bucket(bucketRecords).Cursor()
	for key, raw := c.First(); key != nil; key, raw = c.Next() {
		if err := interrupted(); err != nil {
			return err
		}
		if want := r.tree.Size + 1; !bytes.Equal(key, seqKey(want)) {
			return damaged("record %d is missing: a key %x stands in its place", want, key)
		}
		if err := r.record(r.tree.Size+1, raw); err != nil {
			return err
		}
	}
	return r.totals()
}

func (r *replay) record(seq uint64, raw []byte) error {
	leaf := audit.LeafHash(raw)
	var hashes []byte
	r.tree.Append(leaf, func(_ uint, _ uint64, hash core.Hash) { hashes = append(hashes, hash[:]...) })
	if stored := r.tx.Bucket(bucketTree).Get(seqKey(seq)); !bytes.Equal(stored, hashes) {
		return damaged("record %d does not have the hashes that the tree has for it", seq)
	}
	if err := r.view.Scan(raw); err != nil {
		return damaged("record %d: %w", seq, err)
	}
	if r.view.Time < r.time {
		return damaged("record %d is older than its predecessor", seq)
	}
	r.time = r.view.Time
	for i := range r.view.Ops {
		if err := r.operation(seq, &r.view.Ops[i]); err != nil {
			return err
		}
	}
	if id := r.view.RequestID; len(id) > 0 && seq+r.position.Window > r.position.Seq {
		r.requests++
		if stored := r.tx.Bucket(bucketRequests).Get(id); !bytes.Equal(stored, seqKey(seq)) {
			return damaged("request id %q of record %d is not known", id, seq)
		}
	}
	return nil
}

func (r *replay) operation(seq uint64, op *audit.OpView) error {
	key := objectKey(op.Kind, op.ID)
	old, exists := r.objects[string(key)]
	if op.IfSeq != core.AnySeq && op.IfSeq != old.seq {
		return damaged("record %d writes %s/%s as of %d, but it was at %d", seq, op.Kind, op.ID, op.IfSeq, old.seq)
	}
	if op.Delete && !exists {
		return nil
	}
	next := pointer{seq: seq, created: seq, offset: uint32(op.Offset), length: uint32(len(op.Value))} //nolint:gosec // bounded by MaxTxnBytes
	if exists {
		next.created = old.created
	}
	if op.Delete {
		next.offset, next.length = 0, 0
		delete(r.objects, string(key))
	} else {
		r.objects[string(key)] = next
	}
	r.versions++
	if stored := r.tx.Bucket(bucketHistory).Get(historyKey(key, seq)); !bytes.Equal(stored, next.history()) {
		return damaged("history of %s/%s does not have what record %d wrote", op.Kind, op.ID, seq)
	}
	return nil
}

// totals compares counts, which finds what is in the file without a record that explains it.
func (r *replay) totals() error {
	p := &r.position
	if r.tree.Size != p.Seq || r.tree.Root() != p.Root || r.time != p.Time && p.Seq > 0 {
		return damaged("the records end at %d with root %s, the position says %d with root %s", r.tree.Size, r.tree.Root(), p.Seq, p.Root)
	}
	if uint64(len(r.objects)) != p.Objects {
		return damaged("the records leave %d objects, the position says %d", len(r.objects), p.Objects)
	}
	for _, c := range []struct {
		bucket []byte
		want   uint64
	}{{bucketTree, p.Seq}, {bucketHistory, r.versions}, {bucketRequests, r.requests}, {bucketObjects, p.Objects}} {
		if got := count(r.tx, c.bucket); got != c.want {
			return damaged("bucket %s has %d entries, the records explain %d", c.bucket, got, c.want)
		}
	}
	cursor := r.tx.Bucket(bucketObjects).Cursor()
	for key, value := cursor.First(); key != nil; key, value = cursor.Next() {
		if want, ok := r.objects[string(key)]; !ok || !bytes.Equal(value, want.object()) {
			return damaged("object %q is not as record %d left it", key, want.seq)
		}
	}
	return nil
}

func count(tx *bolt.Tx, bucket []byte) uint64 {
	n := uint64(0)
	var last []byte
	c := tx.Bucket(bucket).Cursor()
	for key, _ := c.First(); key != nil; key, _ = c.Next() {
		if last == nil || bytes.Compare(key, last) > 0 { // a key out of order cannot be found by Get
			n++
		}
		last = key
	}
	return n
}
