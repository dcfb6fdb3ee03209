package audit

import (
	"context"

	"golang.org/x/mod/sumdb/note"

	"github.com/instarhq/instar/core"
)

// Proof shows, without the cluster, that a record is in a log: the record's bytes, the way from its
// leaf to the root, and a checkpoint with that root. It is stored and handed around as JSON.
type Proof struct {
	Format     int         `json:"format"`
	Receipt    Receipt     `json:"receipt"`
	Record     []byte      `json:"record"` // verbatim; base64 in JSON
	Size       uint64      `json:"size"`   // of the tree that the path leads through
	Path       []core.Hash `json:"path"`
	Checkpoint string      `json:"checkpoint"` // a signed note
}

// Receipt is a core.Receipt without what is only true of one answer.
type Receipt struct {
	Origin   string    `json:"origin"`
	Seq      uint64    `json:"seq"`
	LeafHash core.Hash `json:"leaf_hash"`
}

// proofFormat is the format number of Proof.
const proofFormat = 1

// Prove makes the proof for record seq from the log as it stands now.
func Prove(ctx context.Context, log core.Log, seq uint64, signers ...note.Signer) (Proof, error) {
	record, err := log.Record(ctx, seq)
	if err != nil {
		return Proof{}, err
	}
	head, err := log.Head(ctx)
	if err != nil {
		return Proof{}, err
	}
	path, err := log.InclusionProof(ctx, seq, head.Size)
	if err != nil {
		return Proof{}, err
	}
	checkpoint, err := SignCheckpoint(head, signers...)
	if err != nil {
		return Proof{}, err
	}
	return Proof{
		Format:  proofFormat,
		Receipt: Receipt{Origin: head.Origin, Seq: seq, LeafHash: record.LeafHash},
		Record:  record.Raw, Size: head.Size, Path: path, Checkpoint: checkpoint,
	}, nil
}

// Verify checks p by itself, and against trust: the record's hash, its way to the root, and the
// checkpoint's signatures. It returns the record that is proven and the checkpoint that proves it.
func (p *Proof) Verify(trust Trust) (core.Record, Checkpoint, error) {
	fail := func(err error) (core.Record, Checkpoint, error) { return core.Record{}, Checkpoint{}, err }
	if p.Format != proofFormat {
		return fail(core.Errorf(core.CodeUnsupported, "proof is in format %d, this instar reads format %d", p.Format, proofFormat))
	}
	checkpoint, err := OpenCheckpoint(p.Checkpoint, trust)
	if err != nil {
		return fail(err)
	}
	head := checkpoint.Head
	if head.Origin != p.Receipt.Origin || head.Size != p.Size {
		return fail(corrupt("the proof is for a log %q of %d records, its checkpoint is of %q with %d", p.Receipt.Origin, p.Size, head.Origin, head.Size))
	}
	for _, known := range trust.Heads {
		if known.Origin == head.Origin && known.Size == head.Size && known.Root != head.Root {
			return fail(corrupt("the checkpoint at %d has the root %s, the known one is %s: there are two histories of %q", head.Size, head.Root, known.Root, head.Origin))
		}
	}
	if leaf := LeafHash(p.Record); leaf != p.Receipt.LeafHash {
		return fail(corrupt("record %d has the leaf hash %s, the receipt says %s: the record was altered", p.Receipt.Seq, leaf, p.Receipt.LeafHash))
	}
	if err := VerifyInclusion(head, p.Receipt.Seq, p.Receipt.LeafHash, p.Path); err != nil {
		return fail(err)
	}
	record, err := DecodeRecord(p.Receipt.Seq, p.Record)
	return record, checkpoint, err
}

// VerifyReceipt checks that p proves just the write that receipt acknowledged, and verifies p.
func VerifyReceipt(receipt core.Receipt, p *Proof, trust Trust) (core.Record, error) {
	if want := (Receipt{Origin: receipt.Origin, Seq: receipt.Seq, LeafHash: receipt.LeafHash}); p.Receipt != want {
		return core.Record{}, corrupt("the proof is for record %d of %q with leaf hash %s, the receipt for %d of %q with %s",
			p.Receipt.Seq, p.Receipt.Origin, p.Receipt.LeafHash, want.Seq, want.Origin, want.LeafHash)
	}
	record, _, err := p.Verify(trust)
	return record, err
}
