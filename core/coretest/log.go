package coretest

import (
	"context"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/audit"
)

// tree has every node of the Merkle tree, by level and index.
type tree struct {
	frontier audit.Frontier
	levels   [][]core.Hash
}

func (t *tree) add(leaf core.Hash) {
	t.frontier.Append(leaf, func(level uint, _ uint64, hash core.Hash) {
		if int(level) == len(t.levels) {
			t.levels = append(t.levels, nil)
		}
		t.levels[level] = append(t.levels[level], hash)
	})
}

func (t *tree) node(level uint, index uint64) (core.Hash, error) { return t.levels[level][index], nil }

// Record implements core.Log.
func (s *Store) Record(ctx context.Context, seq uint64) (core.Record, error) {
	if err := ctx.Err(); err != nil {
		return core.Record{}, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if seq == 0 || seq > uint64(len(s.records)) {
		return core.Record{}, core.Errorf(core.CodeNotFound, "record %d does not exist, the log has %d", seq, len(s.records))
	}
	return s.records[seq-1], nil
}

// Head implements core.Log.
func (s *Store) Head(ctx context.Context) (core.TreeHead, error) {
	if err := ctx.Err(); err != nil {
		return core.TreeHead{}, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	return core.TreeHead{Origin: s.origin, Size: s.tree.frontier.Size, Root: s.tree.frontier.Root()}, nil
}

// HeadAt implements core.Log.
func (s *Store) HeadAt(ctx context.Context, size uint64) (core.TreeHead, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if err := s.reach(ctx, size); err != nil {
		return core.TreeHead{}, err
	}
	root, err := audit.RootAt(s.tree.node, size)
	return core.TreeHead{Origin: s.origin, Size: size, Root: root}, err
}

// InclusionProof implements core.Log.
func (s *Store) InclusionProof(ctx context.Context, seq, size uint64) ([]core.Hash, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if err := s.reach(ctx, size); err != nil {
		return nil, err
	}
	return audit.ProveInclusion(s.tree.node, seq, size)
}

// ConsistencyProof implements core.Log.
func (s *Store) ConsistencyProof(ctx context.Context, first, second uint64) ([]core.Hash, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if err := s.reach(ctx, second); err != nil {
		return nil, err
	}
	return audit.ProveConsistency(s.tree.node, first, second)
}

func (s *Store) reach(ctx context.Context, size uint64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if size > s.tree.frontier.Size {
		return core.Errorf(core.CodeNotFound, "the log has %d records, not %d", s.tree.frontier.Size, size)
	}
	return nil
}
