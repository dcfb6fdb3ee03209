package audit

import (
	"crypto/sha256"
	"encoding/hex"
	"runtime"
	"sync"

	"github.com/instarhq/instar/core"
)

// batch is a run of records that one worker hashes and scans.
type batch struct {
	data     []byte // of the export; the line end in front of a record has become its leafPrefix
	frames   []frame
	keys     []byte // what the frames' writes alias
	subtrees subtrees
	done     chan struct{}
}

// frame is one record of a batch. The leaf hash that the export names tells an altered record from an
// altered neighbour; the root alone could not.
type frame struct {
	seq        uint64
	offset     int64
	begin, end int // of the record in data
	name       int // of the 64 digits of the leaf hash in data
	leaf       core.Hash
	claimed    core.Hash // if altered
	altered    bool
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
				b.check(&view)
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
	c := cutter{export: v.in, next: 1, records: v.header.records, at: v.in.offset}
	for c.next <= c.records {
		select {
		case <-stop:
			return nil
		default:
		}
		var b *batch
		select {
		case b = <-free:
		default:
			b = &batch{data: make([]byte, 0, batchBytes)}
		}
		b.done = make(chan struct{})
		err := c.fill(b)
		ordered <- b
		work <- b
		if err != nil {
			return err
		}
	}
	c.finish()
	return v.readEnd()
}

// check does all that needs no record of another batch.
func (b *batch) check(view *View) {
	b.keys, b.subtrees.roots = b.keys[:0], b.subtrees.roots[:0]
	for i := range b.frames {
		f := &b.frames[i]
		if i == 0 {
			b.subtrees.next = f.seq - 1
		}
		f.leaf = sha256.Sum256(b.data[f.begin-1 : f.end]) // LeafHash without its copy
		b.subtrees.append(f.leaf)
		f.altered, f.err, f.ops = false, nil, f.ops[:0]
		if name := b.data[f.name : f.name+hex.EncodedLen(len(f.leaf))]; !isHex(name, &f.leaf) {
			f.misnamed(name)
			continue
		}
		if f.err = view.Scan(b.data[f.begin:f.end]); f.err != nil {
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

// isHex reports whether text is a hash in lower-case hexadecimal.
func isHex(text []byte, hash *core.Hash) bool {
	text = text[:2*len(hash)]
	for i, b := range hash {
		if text[2*i] != hexDigits[b>>4] || text[2*i+1] != hexDigits[b&15] {
			return false
		}
	}
	return true
}

// misnamed notes that the export names another leaf hash than the record has, or none.
func (f *frame) misnamed(name []byte) {
	_, err := hex.Decode(f.claimed[:], name)
	if f.altered = err == nil && isHex(name, &f.claimed); !f.altered {
		f.err = corrupt("%q is no leaf hash: want 64 digits 0-9 and a-f", name)
	}
}
