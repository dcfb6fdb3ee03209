package audit

import (
	"bytes"
	"io"
	"slices"
	"time"

	"github.com/instarhq/instar/core"
)

// Report is what VerifyExport found. Records counts what was verified before Failure, if there is one.
type Report struct {
	Origin      string       `json:"origin"`
	Records     uint64       `json:"records"`
	Root        core.Hash    `json:"root"` // over the verified records
	Bytes       int64        `json:"bytes"`
	First       time.Time    `json:"first,omitzero"` // time of the first record
	Last        time.Time    `json:"last,omitzero"`
	Objects     int          `json:"objects"`     // that exist after the last record
	Checkpoints []Checkpoint `json:"checkpoints"` // in the export, verified
	Signed      bool         `json:"signed"`      // known keys' signatures were demanded, and found
	Failure     *Failure     `json:"failure,omitempty"`
}

// Failure says where verification ended, and why.
type Failure struct {
	Seq    uint64 `json:"seq"`    // the record at fault; 0: the header
	Offset int64  `json:"offset"` // where its frame begins in the file
	Reason string `json:"reason"`
}

// VerifyExport reads an export to its end and checks all that can be checked without the cluster: the
// signatures that trust demands, the hash of every record, the Merkle root at every checkpoint, that
// sequence numbers have no gap, that times never go back, and that every write continues what the
// record before it left of the object. The first thing that is wrong ends it: the error and
// Report.Failure name the record. Reading errors other than an early end come back as they are.
func VerifyExport(r io.Reader, trust Trust) (Report, error) {
	v := &verification{in: newExportReader(r), writers: make(map[string]*uint64)}
	err := v.run(trust)
	v.report.Bytes = v.in.offset
	v.report.Root = v.tree.Root()
	v.report.Objects = len(v.writers)
	if err != nil && v.report.Failure == nil {
		v.report.Failure = &Failure{Seq: v.report.Records + 1, Offset: v.in.line, Reason: err.Error()}
		if v.header.origin == "" || v.inHeader {
			v.report.Failure.Seq = 0
		}
	}
	return v.report, err
}

type verification struct {
	in       *exportReader
	header   exportHeader
	inHeader bool
	heads    []core.TreeHead // that the log must run through
	tree     Frontier
	writers  map[string]*uint64 // "kind\x00id" of every living object → the record that wrote it
	lastTime int64
	report   Report
	capture  *capture // nil: nothing is to be proven
}

func (v *verification) run(trust Trust) error {
	if err := v.readHeader(trust); err != nil {
		return err
	}
	if err := v.checkHeads(); err != nil {
		return err
	}
	return v.records()
}

func (v *verification) readHeader(trust Trust) error {
	v.inHeader = true
	var err error
	if v.header, err = v.in.header(); err != nil {
		return err
	}
	v.report.Origin = v.header.origin
	heads := append([]core.TreeHead(nil), trust.Heads...)
	for _, text := range v.header.checkpoints {
		c, err := OpenCheckpoint(text, trust)
		if err != nil {
			return err
		}
		heads = append(heads, c.Head)
		v.report.Checkpoints = append(v.report.Checkpoints, c)
	}
	for _, head := range heads {
		if head.Origin != v.header.origin {
			return corrupt("the export is of the log %q, a checkpoint is of %q", v.header.origin, head.Origin)
		}
		if head.Size > v.header.records {
			return corrupt("the export has %d records, but a checkpoint covers %d: records are missing at its end", v.header.records, head.Size)
		}
	}
	v.heads = heads
	v.report.Signed = len(trust.Keys) > 0
	v.inHeader = false
	return nil
}

// conclude checks what depends on the records before.
func (v *verification) conclude(b *batch) error {
	whole := v.capture == nil && !v.headWithin(b)
	for i := range b.frames {
		f := &b.frames[i]
		if v.capture != nil && v.capture.seq == f.seq {
			v.capture.raw = bytes.Clone(b.data[f.begin:f.end])
		}
		err := v.concludeRecord(f)
		switch {
		case err == nil && !whole:
			v.tree.Append(f.leaf, v.capture.visit())
			err = v.checkHeads()
		case err != nil && whole:
			for k := range b.frames[:i] { // for the report: the root over what was verified
				v.tree.Append(b.frames[k].leaf, nil)
			}
		}
		if err != nil {
			return v.fails(f, err)
		}
	}
	if !whole || len(b.frames) == 0 {
		return nil
	}
	for _, s := range b.subtrees.roots {
		v.tree.appendSubtree(s.level, s.hash)
	}
	if err := v.checkHeads(); err != nil {
		return v.fails(&b.frames[len(b.frames)-1], err)
	}
	return nil
}

// headWithin reports whether a head has to be compared before the end of the batch.
func (v *verification) headWithin(b *batch) bool {
	end := v.tree.Size + uint64(len(b.frames))
	return slices.ContainsFunc(v.heads, func(h core.TreeHead) bool { return h.Size > v.tree.Size && h.Size < end })
}

func (v *verification) fails(f *frame, err error) error {
	v.report.Failure = &Failure{Seq: f.seq, Offset: f.offset, Reason: err.Error()}
	return err
}

func (v *verification) concludeRecord(f *frame) error {
	switch {
	case f.altered:
		return corrupt("record %d at byte %d: its bytes have the leaf hash %s, not %s: the record was altered", f.seq, f.offset, f.leaf, f.claimed)
	case f.err != nil:
		return core.Errorf(core.CodeOf(f.err), "record %d at byte %d: %w", f.seq, f.offset, f.err)
	case f.seq > 1 && f.time < v.lastTime:
		return corrupt("record %d at byte %d is from %s, before its predecessor of %s", f.seq, f.offset, stamp(f.time), stamp(v.lastTime))
	}
	for i := range f.ops {
		if err := v.continues(f, &f.ops[i]); err != nil {
			return err
		}
	}
	if f.seq == 1 {
		v.report.First = stamp(f.time)
	}
	v.lastTime, v.report.Last, v.report.Records = f.time, stamp(f.time), f.seq
	return nil
}

// continues checks a write against the previous writer of its object.
func (v *verification) continues(f *frame, op *write) error {
	last, exists := v.writers[string(op.key)]
	have := uint64(0)
	if exists {
		have = *last
	}
	if op.ifSeq != core.AnySeq && op.ifSeq != have {
		kind, id, _ := bytes.Cut(op.key, []byte{0})
		return corrupt("record %d at byte %d writes %s %q as record %d left it, but the one before that wrote it is %d (0: none)",
			f.seq, f.offset, kind, id, op.ifSeq, have)
	}
	switch {
	case op.delete:
		delete(v.writers, string(op.key))
	case exists:
		*last = f.seq
	default:
		seq := f.seq
		v.writers[string(op.key)] = &seq
	}
	return nil
}

// checkHeads compares the root with every head of the present size.
func (v *verification) checkHeads() error {
	for _, head := range v.heads {
		if head.Size == v.tree.Size && head.Root != v.tree.Root() {
			return corrupt("the first %d records have the root %s, a checkpoint of %q says %s: records were altered together with their hashes",
				head.Size, v.tree.Root(), head.Origin, head.Root)
		}
	}
	return nil
}

func stamp(nanos int64) time.Time { return time.Unix(0, nanos).UTC() }
