package audit_test

import (
	"bytes"
	"testing"

	"github.com/transparency-dev/merkle/rfc6962"
	"pgregory.net/rapid"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/audit"
)

// naiveRoot is RFC 6962, 2.1, word for word.
func naiveRoot(leaves []core.Hash) core.Hash {
	switch len(leaves) {
	case 0:
		return core.Hash(rfc6962.DefaultHasher.EmptyRoot())
	case 1:
		return leaves[0]
	}
	split := 1
	for split*2 < len(leaves) {
		split *= 2
	}
	left, right := naiveRoot(leaves[:split]), naiveRoot(leaves[split:])
	return core.Hash(rfc6962.DefaultHasher.HashChildren(left[:], right[:]))
}

type nodeID struct {
	level uint
	index uint64
}

func grow(n int) (leaves []core.Hash, nodes audit.Nodes, tree audit.Frontier) {
	stored := make(map[nodeID]core.Hash)
	for i := range n {
		leaf := audit.LeafHash([]byte{byte(i), byte(i >> 8)})
		leaves = append(leaves, leaf)
		tree.Append(leaf, func(level uint, index uint64, hash core.Hash) { stored[nodeID{level, index}] = hash })
	}
	return leaves, func(level uint, index uint64) (core.Hash, error) {
		hash, ok := stored[nodeID{level, index}]
		if !ok {
			return hash, core.Errorf(core.CodeInternal, "asked for node %d of level %d, which is not complete", index, level)
		}
		return hash, nil
	}, tree
}

func TestTree(t *testing.T) {
	const n = 70
	leaves, nodes, tree := grow(n)
	if tree.Root() != naiveRoot(leaves) {
		t.Fatal("the root is not the RFC's")
	}
	for size := range uint64(n + 1) {
		root, err := audit.RootAt(nodes, size)
		if err != nil || root != naiveRoot(leaves[:size]) {
			t.Fatalf("root at %d: %s, %v", size, root, err)
		}
	}
}

func TestLeafHashIsRFC6962(t *testing.T) {
	for _, size := range []int{0, 1, 64, 1000, 64 << 10, 1 << 20} {
		raw := bytes.Repeat([]byte{7}, size)
		if got, want := audit.LeafHash(raw), core.Hash(rfc6962.DefaultHasher.HashLeaf(raw)); got != want {
			t.Errorf("%d bytes: %s, want %s", size, got, want)
		}
	}
}

// TestProofsFindEveryChange alters each part of a proof that verifies; nothing of it may still verify.
func TestProofsFindEveryChange(t *testing.T) {
	leaves, nodes, tree := grow(100)
	rapid.Check(t, func(r *rapid.T) {
		size := rapid.Uint64Range(2, tree.Size).Draw(r, "size")
		seq := rapid.Uint64Range(1, size).Draw(r, "seq")
		root, err := audit.RootAt(nodes, size)
		if err != nil {
			r.Fatal(err)
		}
		head := core.TreeHead{Origin: "o", Size: size, Root: root}
		path, err := audit.ProveInclusion(nodes, seq, size)
		if err != nil {
			r.Fatal(err)
		}
		if err := audit.VerifyInclusion(head, seq, leaves[seq-1], path); err != nil {
			r.Fatal(err)
		}
		refused := func(what string, err error) {
			if core.CodeOf(err) != core.CodeCorrupt {
				r.Fatalf("%s: got %v, want code corrupt", what, err)
			}
		}
		refused("other leaf", audit.VerifyInclusion(head, seq, leaves[seq%size], path))
		refused("other place", audit.VerifyInclusion(head, seq%size+1, leaves[seq-1], path))
		refused("past the end", audit.VerifyInclusion(head, size+1, leaves[seq-1], path))
		refused("record 0", audit.VerifyInclusion(head, 0, leaves[seq-1], path))
		refused("shorter path", audit.VerifyInclusion(head, seq, leaves[seq-1], path[1:]))
		path[rapid.IntRange(0, len(path)-1).Draw(r, "hash")][3] ^= 1
		refused("other path", audit.VerifyInclusion(head, seq, leaves[seq-1], path))

		rootThen, err := audit.RootAt(nodes, seq)
		if err != nil {
			r.Fatal(err)
		}
		then := core.TreeHead{Origin: "o", Size: seq, Root: rootThen}
		path, err = audit.ProveConsistency(nodes, seq, size)
		if err != nil {
			r.Fatal(err)
		}
		if err := audit.VerifyConsistency(then, head, path); err != nil {
			r.Fatal(err)
		}
		then.Root[5] ^= 1
		refused("other first root", audit.VerifyConsistency(then, head, path))
		refused("backwards", audit.VerifyConsistency(head, core.TreeHead{Size: 1, Root: leaves[0]}, path))
	})
}

func TestConsistencyWithNothing(t *testing.T) {
	head := core.TreeHead{Size: 3, Root: core.Hash{1}}
	if err := audit.VerifyConsistency(core.TreeHead{Root: audit.EmptyRoot()}, head, nil); err != nil {
		t.Fatal(err)
	}
	if err := audit.VerifyConsistency(core.TreeHead{Root: core.Hash{9}}, head, nil); core.CodeOf(err) != core.CodeCorrupt {
		t.Fatalf("got %v, want code corrupt", err)
	}
}
