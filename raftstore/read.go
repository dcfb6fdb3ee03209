package raftstore

import (
	"context"
	"iter"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/audit"
)

// Seq implements core.Reader.
func (s *Store) Seq() uint64 { return s.machine.Position().Seq }

// Get implements core.Reader.
func (s *Store) Get(ctx context.Context, kind core.Kind, id string, at uint64) (core.Object, error) {
	if err := ctx.Err(); err != nil {
		return core.Object{}, err
	}
	return s.machine.Get(kind, id, at)
}

// List implements core.Reader.
func (s *Store) List(ctx context.Context, kind core.Kind, prefix string, at uint64) ([]core.Object, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return s.machine.List(kind, prefix, at)
}

// Bounds of what a feed reads at a time.
const (
	feedRecords = 256
	feedBytes   = 1 << 20
)

// Changes implements core.Feed. A restore, which gives the log another origin, ends it with
// core.ErrReplaced. A snapshot that this node gets because it lags does not: it is of the same log.
func (s *Store) Changes(ctx context.Context, after uint64) iter.Seq2[core.Record, error] {
	origin := s.Origin()
	return func(yield func(core.Record, error) bool) {
		for {
			changed := s.machine.Changed() // before reading, so that no batch falls in between
			records, _, err := s.machine.Records(after, feedRecords, feedBytes)
			// Looked at after reading: then what was read is of this log, too. A new node has no log yet.
			now := s.Origin()
			if origin == "" {
				origin = now
			}
			if now != origin {
				err = core.Errorf(core.CodeUnavailable, "%w: it was %s and is %s: begin anew", core.ErrReplaced, origin, now)
			}
			if err != nil {
				yield(core.Record{}, err)
				return
			}
			for _, record := range records {
				if err := ctx.Err(); err != nil {
					yield(core.Record{}, err)
					return
				}
				if !yield(record, nil) {
					return
				}
				after = record.Seq
			}
			if len(records) > 0 {
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

// Record implements core.Log.
func (s *Store) Record(ctx context.Context, seq uint64) (core.Record, error) {
	if err := ctx.Err(); err != nil {
		return core.Record{}, err
	}
	return s.machine.Record(seq)
}

// Head implements core.Log.
func (s *Store) Head(ctx context.Context) (head core.TreeHead, err error) {
	if err := ctx.Err(); err != nil {
		return head, err
	}
	err = s.machine.Tree(func(_ audit.Nodes, now core.TreeHead) error {
		head = now
		return nil
	})
	return head, err
}

// HeadAt implements core.Log.
func (s *Store) HeadAt(ctx context.Context, size uint64) (head core.TreeHead, err error) {
	err = s.tree(ctx, size, func(nodes audit.Nodes, now core.TreeHead) error {
		root, err := audit.RootAt(nodes, size)
		head = core.TreeHead{Origin: now.Origin, Size: size, Root: root}
		return err
	})
	return head, err
}

// InclusionProof implements core.Log.
func (s *Store) InclusionProof(ctx context.Context, seq, size uint64) (path []core.Hash, err error) {
	err = s.tree(ctx, size, func(nodes audit.Nodes, _ core.TreeHead) (err error) {
		path, err = audit.ProveInclusion(nodes, seq, size)
		return err
	})
	return path, err
}

// ConsistencyProof implements core.Log.
func (s *Store) ConsistencyProof(ctx context.Context, first, second uint64) (path []core.Hash, err error) {
	err = s.tree(ctx, second, func(nodes audit.Nodes, _ core.TreeHead) (err error) {
		path, err = audit.ProveConsistency(nodes, first, second)
		return err
	})
	return path, err
}

func (s *Store) tree(ctx context.Context, size uint64, read func(audit.Nodes, core.TreeHead) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.machine.Tree(func(nodes audit.Nodes, head core.TreeHead) error {
		if size > head.Size {
			return core.Errorf(core.CodeNotFound, "the log has %d records, not %d", head.Size, size)
		}
		return read(nodes, head)
	})
}

// Verify reads the whole state and recomputes everything from the records; it takes about six seconds
// per gigabyte, and the store goes on meanwhile. CodeCorrupt says what does not fit.
func (s *Store) Verify(ctx context.Context) error { return s.machine.Verify(ctx) }
