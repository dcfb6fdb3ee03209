package audit

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
)

const (
	batchBytes = 128 << 10 // small enough for a processor's own cache
	maxLine    = 128       // bytes of the line in front of a record, its end included
	idleReads  = 100       // reads in a row that give nothing, before a reader is taken for broken
)

// cutter cuts the records of an export into batches, without copying them once more.
type cutter struct {
	export  *exportReader
	next    uint64 // sequence number of the record that comes next
	records uint64 // how many there are
	rest    []byte // read, but not cut: it did not fit into the batch before
	at      int64  // where rest begins in the export
	err     error  // of the reader; nothing comes after it
}

// fill reads the next records into b, at least one if there is no error. Records in front of an error are
// in b as well.
func (c *cutter) fill(b *batch) error {
	b.frames = b.frames[:0]
	b.data = append(b.data[:0], c.rest...)
	end, need := 0, batchBytes
	var err error
	for err == nil && len(b.frames) == 0 {
		if err = c.read(b, end+need); err == nil {
			end, need, err = c.cut(b)
		}
	}
	c.rest = append(c.rest[:0], b.data[end:]...)
	c.at += int64(end)
	c.export.offset = c.at
	return err
}

// read makes data as long as size, or as the export is. It fails if nothing is added.
func (c *cutter) read(b *batch, size int) error {
	before := len(b.data)
	if before >= size {
		return nil
	}
	b.data = slices.Grow(b.data, size-before)
	for idle := 0; len(b.data) < size && c.err == nil; idle++ {
		n, err := c.export.in.Read(b.data[len(b.data):size])
		b.data, c.err = b.data[:len(b.data)+n], err
		if n > 0 {
			idle = 0
		} else if idle == idleReads {
			c.err = io.ErrNoProgress
		}
	}
	if len(b.data) > before || c.err == nil {
		return nil
	}
	read := c.at + int64(len(b.data))
	c.export.line = c.at
	if errors.Is(c.err, io.EOF) {
		return corrupt("the export is cut off at byte %d", read)
	}
	return fmt.Errorf("read export at byte %d: %w", read, c.err)
}

// cut finds the records that are in data as a whole. They end at end; the one behind them needs need bytes.
func (c *cutter) cut(b *batch) (end, need int, err error) {
	for c.next <= c.records {
		rest := b.data[end:]
		line := bytes.IndexByte(rest[:min(len(rest), maxLine)], '\n')
		c.export.line = c.at + int64(end)
		if line < 0 && len(rest) >= maxLine {
			return end, 0, corrupt("byte %d: a line without an end: this is no export of instar", c.export.line)
		}
		if line < 0 {
			return end, maxLine, nil
		}
		seq, size, name, err := c.export.recordLine(rest[:line])
		if err != nil {
			return end, 0, err
		}
		if seq != c.next {
			return end, 0, corrupt("byte %d: record %d stands where record %d should: records are missing, doubled or out of order",
				c.export.line, seq, c.next)
		}
		total := line + 1 + size + 1
		if len(rest) < total {
			return end, total, nil
		}
		if rest[total-1] != '\n' {
			return end, 0, corrupt("byte %d: the length in the line at byte %d is wrong: there is no line end after %d bytes",
				c.export.line+int64(total)-1, c.export.line, size)
		}
		rest[line] = leafPrefix // so that the record can be hashed where it is
		f := b.frame()
		f.seq, f.offset = seq, c.export.line
		f.name, f.begin, f.end = end+name, end+line+1, end+total-1
		end += total
		c.next++
	}
	return end, 0, nil
}

// frame adds one, with the memory of the one that stood there before.
func (b *batch) frame() *frame {
	if n := len(b.frames); n < cap(b.frames) {
		b.frames = b.frames[:n+1]
	} else {
		b.frames = append(b.frames, frame{})
	}
	return &b.frames[len(b.frames)-1]
}

// finish hands what was read and is no record back to the export's reader.
func (c *cutter) finish() {
	if len(c.rest) == 0 && c.err == nil {
		return
	}
	var behind io.Reader = c.export.in
	if c.err != nil {
		behind = failing{c.err}
	}
	c.export.in = bufio.NewReader(io.MultiReader(bytes.NewReader(c.rest), behind))
}

// failing is what is left of a reader that has failed.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }
