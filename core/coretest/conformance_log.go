package coretest

import (
	"fmt"
	"testing"

	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/audit"
)

func testRecord(t *testing.T, s core.Store) {
	given := txn(put("a", `{"x":1}`, 0), put("b", "2", core.AnySeq))
	receipt := mustPropose(t, s, given)
	record, err := s.Record(testContext(t), receipt.Seq)
	if err != nil {
		t.Fatal(err)
	}
	if want := core.Hash(rfc6962.DefaultHasher.HashLeaf(record.Raw)); record.LeafHash != want || record.Seq != 1 {
		t.Fatalf("record %d has leaf hash %s, its bytes give %s", record.Seq, record.LeafHash, want)
	}
	decoded, err := audit.Decode(record.Raw)
	if err != nil {
		t.Fatal(err)
	}
	for i, op := range given.Ops {
		for _, got := range []core.Op{record.Txn.Ops[i], decoded.Ops[i]} {
			if got.Kind != op.Kind || got.ID != op.ID || string(got.Value) != string(op.Value) || got.IfSeq != op.IfSeq || got.Delete != op.Delete {
				t.Fatalf("operation %d came back as %+v, given %+v", i, got, op)
			}
		}
	}
	for _, seq := range []uint64{0, 2, core.AnySeq} {
		_, err := s.Record(testContext(t), seq)
		wantCode(t, err, core.CodeNotFound, "")
	}
}

func testHeads(t *testing.T, s core.Store) {
	head, err := s.Head(testContext(t))
	if err != nil || head.Size != 0 || head.Root != core.Hash(rfc6962.DefaultHasher.EmptyRoot()) {
		t.Fatalf("head of an empty log: %+v, %v", head, err)
	}
	heads := []core.TreeHead{head}
	for i := range 9 {
		mustPropose(t, s, txn(put(fmt.Sprint(i), "1", 0)))
		head, err := s.Head(testContext(t))
		if err != nil {
			t.Fatal(err)
		}
		heads = append(heads, head)
	}
	for size, want := range heads {
		got, err := s.HeadAt(testContext(t), uint64(size))
		if err != nil || got != want {
			t.Fatalf("head at %d: %+v, %v; it was %+v", size, got, err, want)
		}
	}
	_, err = s.HeadAt(testContext(t), 10)
	wantCode(t, err, core.CodeNotFound, "")
}

// testProofs checks every pair of sizes up to 40 with the reference verifier, not with ours.
func testProofs(t *testing.T, s core.Store) {
	const records = 40
	ctx := testContext(t)
	leaves, heads := make([]core.Hash, records+1), make([]core.TreeHead, records+1)
	for i := range records {
		leaves[i+1] = mustPropose(t, s, txn(put(fmt.Sprint(i), "1", 0))).LeafHash
	}
	for size := range heads {
		var err error
		if heads[size], err = s.HeadAt(ctx, uint64(size)); err != nil {
			t.Fatal(err)
		}
	}
	for size := uint64(1); size <= records; size++ {
		for seq := uint64(1); seq <= size; seq++ {
			path, err := s.InclusionProof(ctx, seq, size)
			if err != nil {
				t.Fatalf("inclusion of %d in %d: %v", seq, size, err)
			}
			root := heads[size].Root
			if err := proof.VerifyInclusion(rfc6962.DefaultHasher, seq-1, size, leaves[seq][:], bytesOf(path), root[:]); err != nil {
				t.Fatalf("inclusion of %d in %d: %v", seq, size, err)
			}
			path, err = s.ConsistencyProof(ctx, seq, size)
			if err != nil {
				t.Fatalf("consistency of %d with %d: %v", seq, size, err)
			}
			first := heads[seq].Root
			if err := proof.VerifyConsistency(rfc6962.DefaultHasher, seq, size, bytesOf(path), first[:], root[:]); err != nil {
				t.Fatalf("consistency of %d with %d: %v", seq, size, err)
			}
		}
	}
}

func testProofArguments(t *testing.T, s core.Store) {
	for i := range 3 {
		mustPropose(t, s, txn(put(fmt.Sprint(i), "1", 0)))
	}
	for _, c := range []struct {
		seq, size uint64
		code      core.Code
	}{{0, 3, core.CodeInvalid}, {3, 2, core.CodeInvalid}, {1, 4, core.CodeNotFound}, {4, 4, core.CodeNotFound}} {
		_, err := s.InclusionProof(testContext(t), c.seq, c.size)
		wantCode(t, err, c.code, "")
	}
	_, err := s.ConsistencyProof(testContext(t), 1, 4)
	wantCode(t, err, core.CodeNotFound, "")
	_, err = s.ConsistencyProof(testContext(t), 3, 2)
	wantCode(t, err, core.CodeInvalid, "")
	if path, err := s.ConsistencyProof(testContext(t), 0, 3); err != nil || len(path) != 0 {
		t.Fatalf("consistency with the empty log: %v, %v", path, err)
	}
}

func bytesOf(hashes []core.Hash) [][]byte {
	raw := make([][]byte, len(hashes))
	for i := range hashes {
		raw[i] = hashes[i][:]
	}
	return raw
}
