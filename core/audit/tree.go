package audit

import (
	"fmt"
	"math/bits"

	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"

	"github.com/instarhq/instar/core"
)

// Nodes reads the hash of a perfect subtree: the index-th one with 2^level leaves. Only nodes whose
// leaves all exist are asked for.
type Nodes func(level uint, index uint64) (core.Hash, error)

// Frontier is what a tree needs to keep growing: the roots of its perfect subtrees, largest first. The
// zero Frontier is the empty tree. It has at most 64 hashes, so it is cheap to copy.
type Frontier struct {
	Size   uint64
	Hashes []core.Hash
}

// Append adds a leaf and reports every node that became complete through visit, leaf first.
func (f *Frontier) Append(leaf core.Hash, visit func(level uint, index uint64, hash core.Hash)) {
	hash, index := leaf, f.Size
	level := uint(0)
	for {
		if visit != nil {
			visit(level, index, hash)
		}
		if index&1 == 0 {
			break
		}
		last := len(f.Hashes) - 1
		hash = NodeHash(f.Hashes[last], hash)
		f.Hashes = f.Hashes[:last]
		level, index = level+1, index>>1
	}
	f.Hashes = append(f.Hashes, hash)
	f.Size++
}

// appendSubtree adds the root of a perfect subtree with 2^level leaves. Its place must be one that such a
// subtree has: Size is a multiple of 2^level.
func (f *Frontier) appendSubtree(level uint, hash core.Hash) {
	index := f.Size >> level
	for ; index&1 == 1; index >>= 1 {
		last := len(f.Hashes) - 1
		hash = NodeHash(f.Hashes[last], hash)
		f.Hashes = f.Hashes[:last]
	}
	f.Hashes = append(f.Hashes, hash)
	f.Size += 1 << level
}

// subtree is a perfect one with 2^level leaves.
type subtree struct {
	level uint
	hash  core.Hash
}

// subtrees grow from a run of leaves that begins anywhere in a tree: as few and as large as there can be.
type subtrees struct {
	next  uint64 // index of the next leaf
	roots []subtree
}

// append adds the next leaf.
func (s *subtrees) append(leaf core.Hash) {
	hash, level := leaf, uint(0)
	for index := s.next; index&1 == 1; index >>= 1 {
		last := len(s.roots) - 1
		if last < 0 || s.roots[last].level != level {
			break // the left sibling is not of this run
		}
		hash = NodeHash(s.roots[last].hash, hash)
		s.roots = s.roots[:last]
		level++
	}
	s.roots = append(s.roots, subtree{level, hash})
	s.next++
}

// Root is the root over all leaves so far.
func (f *Frontier) Root() core.Hash {
	last := len(f.Hashes) - 1
	if last < 0 {
		return EmptyRoot()
	}
	hash := f.Hashes[last]
	for i := last - 1; i >= 0; i-- {
		hash = NodeHash(f.Hashes[i], hash)
	}
	return hash
}

// Clone returns a copy that can grow on its own.
func (f *Frontier) Clone() Frontier {
	return Frontier{Size: f.Size, Hashes: append([]core.Hash(nil), f.Hashes...)}
}

// FrontierAt reads the frontier that the tree had with size leaves.
func FrontierAt(nodes Nodes, size uint64) (Frontier, error) {
	f := Frontier{Size: size, Hashes: make([]core.Hash, 0, bits.OnesCount64(size))}
	for _, id := range compact.RangeNodes(0, size, nil) {
		hash, err := nodes(id.Level, id.Index)
		if err != nil {
			return Frontier{}, err
		}
		f.Hashes = append(f.Hashes, hash)
	}
	return f, nil
}

// RootAt computes the root that the tree had with size leaves, from at most 64 nodes.
func RootAt(nodes Nodes, size uint64) (core.Hash, error) {
	f, err := FrontierAt(nodes, size)
	if err != nil {
		return core.Hash{}, err
	}
	return f.Root(), nil
}

// ProveInclusion makes the proof that record seq is in the tree with size leaves; 1 <= seq <= size.
func ProveInclusion(nodes Nodes, seq, size uint64) ([]core.Hash, error) {
	if seq == 0 || seq > size {
		return nil, core.Errorf(core.CodeInvalid, "record %d is not in a log of %d records", seq, size)
	}
	plan, err := proof.Inclusion(seq-1, size)
	if err != nil {
		return nil, fmt.Errorf("inclusion of record %d in %d: %w", seq, size, err)
	}
	return rehash(nodes, plan)
}

// ProveConsistency makes the proof that the tree with second leaves extends the one with first.
func ProveConsistency(nodes Nodes, first, second uint64) ([]core.Hash, error) {
	if first > second {
		return nil, core.Errorf(core.CodeInvalid, "a log of %d records cannot extend one of %d", second, first)
	}
	if first == 0 || first == second {
		return nil, nil
	}
	plan, err := proof.Consistency(first, second)
	if err != nil {
		return nil, fmt.Errorf("consistency of %d with %d: %w", first, second, err)
	}
	return rehash(nodes, plan)
}

func rehash(nodes Nodes, plan proof.Nodes) ([]core.Hash, error) {
	raw := make([][]byte, len(plan.IDs))
	for i, id := range plan.IDs {
		hash, err := nodes(id.Level, id.Index)
		if err != nil {
			return nil, err
		}
		raw[i] = hash[:]
	}
	raw, err := plan.Rehash(raw, hashChildren)
	if err != nil {
		return nil, fmt.Errorf("proof: %w", err)
	}
	hashes := make([]core.Hash, len(raw))
	for i := range raw {
		hashes[i] = core.Hash(raw[i])
	}
	return hashes, nil
}

// VerifyInclusion checks that a record with that leaf hash is number seq of the log with head's root.
func VerifyInclusion(head core.TreeHead, seq uint64, leaf core.Hash, path []core.Hash) error {
	if seq == 0 || seq > head.Size {
		return core.Errorf(core.CodeCorrupt, "record %d is not in a log of %d records", seq, head.Size)
	}
	err := proof.VerifyInclusion(rfc6962.DefaultHasher, seq-1, head.Size, leaf[:], byteSlices(path), head.Root[:])
	if err != nil {
		return core.Errorf(core.CodeCorrupt, "record %d with leaf hash %s is not in the log of %d records with root %s: the proof leads elsewhere",
			seq, leaf, head.Size, head.Root)
	}
	return nil
}

// VerifyConsistency checks that the log with head second extends the one with head first.
func VerifyConsistency(first, second core.TreeHead, path []core.Hash) error {
	if first.Size == 0 && first.Root != EmptyRoot() {
		return core.Errorf(core.CodeCorrupt, "a log of 0 records has the root %s, not %s", EmptyRoot(), first.Root)
	}
	err := proof.VerifyConsistency(rfc6962.DefaultHasher, first.Size, second.Size, byteSlices(path), first.Root[:], second.Root[:])
	if err != nil {
		return core.Errorf(core.CodeCorrupt, "the log of %d records with root %s does not extend the one of %d records with root %s",
			second.Size, second.Root, first.Size, first.Root)
	}
	return nil
}

func byteSlices(path []core.Hash) [][]byte {
	s := make([][]byte, len(path))
	for i := range path {
		s[i] = path[i][:]
	}
	return s
}
