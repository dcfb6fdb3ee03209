package audit

import (
	"io"

	"github.com/transparency-dev/merkle/compact"

	"github.com/instarhq/instar/core"
)

// ProveExport verifies an export as VerifyExport does and makes the proof for one of its records, from
// the export alone: the cluster need not exist any more. The proof carries the export's largest
// checkpoint that covers the record; CodeNotFound if none does.
func ProveExport(r io.Reader, seq uint64, trust Trust) (Proof, error) {
	c := &capture{seq: seq, nodes: map[compact.NodeID]core.Hash{}}
	v := &verification{in: newExportReader(r), writers: make(map[string]*uint64), capture: c}
	if err := v.run(trust); err != nil {
		return Proof{}, err
	}
	best, text := core.TreeHead{}, ""
	for i, checkpoint := range v.report.Checkpoints {
		if checkpoint.Head.Size > best.Size {
			best, text = checkpoint.Head, v.header.checkpoints[i]
		}
	}
	if seq == 0 || seq > best.Size || c.raw == nil {
		return Proof{}, core.Errorf(core.CodeNotFound, "the export has no checkpoint over record %d: it covers records 1 to %d", seq, best.Size)
	}
	path, err := ProveInclusion(c.node, seq, best.Size)
	if err != nil {
		return Proof{}, err
	}
	return Proof{
		Format:  proofFormat,
		Receipt: Receipt{Origin: best.Origin, Seq: seq, LeafHash: LeafHash(c.raw)},
		Record:  c.raw, Size: best.Size, Path: path, Checkpoint: text,
	}, nil
}

// capture keeps what the proof of one record needs while an export is verified: 64 bytes a record.
type capture struct {
	seq   uint64
	raw   []byte
	nodes map[compact.NodeID]core.Hash
}

// visit is what the tree reports its nodes to; nil for a nil capture.
func (c *capture) visit() func(level uint, index uint64, hash core.Hash) {
	if c == nil {
		return nil
	}
	return func(level uint, index uint64, hash core.Hash) {
		c.nodes[compact.NodeID{Level: level, Index: index}] = hash
	}
}

func (c *capture) node(level uint, index uint64) (core.Hash, error) {
	hash, ok := c.nodes[compact.NodeID{Level: level, Index: index}]
	if !ok {
		return hash, core.Errorf(core.CodeInternal, "node %d/%d of the tree is missing", level, index)
	}
	return hash, nil
}
