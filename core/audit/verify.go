package audit

import (
	"bytes"
	"crypto/sha256"
	"io"
	"runtime"
	"sync"
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
	v := &verification{in: newExportReader(r), writers: make(map[string]uint64)}
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
	writers  map[string]uint64 // "kind\x00id" of every living object → the record that wrote it
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

// batch is a run of records that one worker hashes and scans.
type batch struct {
	frames []frame
	data   []byte // records, each behind a leafPrefix
	keys   []byte // what the frames' writes alias
	done   chan struct{}
}

// frame is one record of a batch. claimed is the leaf hash that the export names, which tells an
// altered record from an altered neighbour; the root alone could not.
type frame struct {
	seq        uint64
	offset     int64
	begin, end int
	claimed    core.Hash
	leaf       core.Hash
	err        error
	time       int64
	ops        []write
}

// write is what continuity needs of an operation.
type write struct {
	key    []byte // kind\x00id
	ifSeq  uint64
	delete bool
}

const (
	batchFrames = 256
	batchBytes  = 1 << 20
)

// records reads in one goroutine, hashes in as many as there are processors and concludes in order.
func (v *verification) records() error {
	workers := runtime.GOMAXPROCS(0)
	work := make(chan *batch, workers)
	ordered := make(chan *batch, 2*workers)
	free := make(chan *batch, 2*workers+2)
	stop := make(chan struct{})
	var group sync.WaitGroup
	for range workers {
		group.Go(func() {
			var view View
			for b := range work {
				b.hash(&view)
				close(b.done)
			}
		})
	}
	var readErr error
	group.Go(func() {
		defer close(ordered)
		defer close(work)
		readErr = v.read(work, ordered, free, stop)
	})
	var err error
	for b := range ordered {
		<-b.done
		if err == nil {
			if err = v.conclude(b); err != nil {
				close(stop)
			}
		}
		select {
		case free <- b:
		default:
		}
	}
	group.Wait()
	if err != nil {
		return err
	}
	return readErr
}

// read cuts the export into batches. What it read before an error is still handed on, so that a wrong
// record in front of the error is the one that is blamed.
func (v *verification) read(work, ordered chan<- *batch, free <-chan *batch, stop <-chan struct{}) error {
	for next := uint64(1); next <= v.header.records; {
		select {
		case <-stop:
			return nil
		default:
		}
		var b *batch
		select {
		case b = <-free:
			b.frames, b.data, b.keys = b.frames[:0], b.data[:0], b.keys[:0]
		default:
			b = &batch{frames: make([]frame, 0, batchFrames), data: make([]byte, 0, batchBytes+batchBytes/4)}
		}
		b.done = make(chan struct{})
		err := v.fill(b, &next)
		ordered <- b
		work <- b
		if err != nil {
			return err
		}
	}
	return v.readEnd()
}

func (v *verification) fill(b *batch, next *uint64) error {
	for len(b.frames) < batchFrames && len(b.data) < batchBytes && *next <= v.header.records {
		line, err := v.in.next()
		if err != nil {
			return err
		}
		begin := v.in.line
		seq, size, leaf, err := v.in.recordLine(line)
		if err != nil {
			return err
		}
		if seq != *next {
			return corrupt("byte %d: record %d stands where record %d should: records are missing, doubled or out of order", begin, seq, *next)
		}
		at := len(b.data) + 1
		if b.data, err = v.in.body(append(b.data, leafPrefix), size); err != nil {
			return err
		}
		if n := len(b.frames); n < cap(b.frames) { // keep the slot's ops for their memory
			b.frames = b.frames[:n+1]
		} else {
			b.frames = append(b.frames, frame{})
		}
		f := &b.frames[len(b.frames)-1]
		f.seq, f.offset, f.begin, f.end, f.claimed = seq, begin, at, at+size, leaf
		*next++
	}
	return nil
}

// hash does all that needs no other record.
func (b *batch) hash(view *View) {
	for i := range b.frames {
		f := &b.frames[i]
		raw := b.data[f.begin:f.end]
		f.leaf = sha256.Sum256(b.data[f.begin-1 : f.end]) // LeafHash without its copy
		f.err, f.ops = nil, f.ops[:0]
		if f.leaf != f.claimed {
			continue
		}
		if f.err = view.Scan(raw); f.err != nil {
			continue
		}
		f.time = view.Time
		for j := range view.Ops {
			op := &view.Ops[j]
			begin := len(b.keys) // growing moves keys, but leaves the old ones to those who alias them
			b.keys = append(append(append(b.keys, op.Kind...), 0), op.ID...)
			f.ops = append(f.ops, write{key: b.keys[begin:], ifSeq: op.IfSeq, delete: op.Delete})
		}
	}
}

// conclude checks what depends on the records before.
func (v *verification) conclude(b *batch) error {
	for i := range b.frames {
		f := &b.frames[i]
		if v.capture != nil && v.capture.seq == f.seq {
			v.capture.raw = bytes.Clone(b.data[f.begin:f.end])
		}
		if err := v.concludeRecord(f); err != nil {
			v.report.Failure = &Failure{Seq: f.seq, Offset: f.offset, Reason: err.Error()}
			return err
		}
		if err := v.checkHeads(); err != nil {
			v.report.Failure = &Failure{Seq: f.seq, Offset: f.offset, Reason: err.Error()}
			return err
		}
	}
	return nil
}

func (v *verification) concludeRecord(f *frame) error {
	switch {
	case f.leaf != f.claimed:
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
	v.tree.Append(f.leaf, v.capture.visit())
	if f.seq == 1 {
		v.report.First = stamp(f.time)
	}
	v.lastTime, v.report.Last, v.report.Records = f.time, stamp(f.time), f.seq
	return nil
}

// continues checks a write against the previous writer of its object.
func (v *verification) continues(f *frame, op *write) error {
	have := v.writers[string(op.key)]
	if op.ifSeq != core.AnySeq && op.ifSeq != have {
		kind, id, _ := bytes.Cut(op.key, []byte{0})
		return corrupt("record %d at byte %d writes %s %q as record %d left it, but the one before that wrote it is %d (0: none)",
			f.seq, f.offset, kind, id, op.ifSeq, have)
	}
	if op.delete {
		delete(v.writers, string(op.key))
		return nil
	}
	v.writers[string(op.key)] = f.seq
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
