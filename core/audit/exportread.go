package audit

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"

	"github.com/instarhq/instar/core"
)

// exportHeader is what stands before the records of an export.
type exportHeader struct {
	origin      string
	records     uint64
	checkpoints []string
}

// exportReader reads the frames of an export and knows where it is, so that an error can say so.
type exportReader struct {
	in     *bufio.Reader
	offset int64 // of the next byte
	line   int64 // offset of the last line read
}

func newExportReader(r io.Reader) *exportReader {
	return &exportReader{in: bufio.NewReaderSize(r, 256<<10)}
}

// next reads a line without its newline; the slice is valid until the next read.
func (e *exportReader) next() ([]byte, error) {
	e.line = e.offset
	line, err := e.in.ReadSlice('\n')
	e.offset += int64(len(line))
	switch {
	case err == nil:
		return line[:len(line)-1], nil
	case errors.Is(err, io.EOF):
		return nil, corrupt("the export is cut off at byte %d", e.offset)
	case errors.Is(err, bufio.ErrBufferFull):
		return nil, corrupt("byte %d: a line without an end: this is no export of instar", e.line)
	}
	return nil, fmt.Errorf("read export at byte %d: %w", e.offset, err)
}

// body reads n bytes and a newline, and appends the bytes to buf; on an error buf comes back as it was.
func (e *exportReader) body(buf []byte, n int) ([]byte, error) {
	begin := len(buf)
	grown := slices.Grow(buf, n+1)[:begin+n+1]
	got, err := io.ReadFull(e.in, grown[begin:])
	e.offset += int64(got)
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return buf, corrupt("the export is cut off at byte %d", e.offset)
	case err != nil:
		return buf, fmt.Errorf("read export at byte %d: %w", e.offset, err)
	case grown[begin+n] != '\n':
		return buf, corrupt("byte %d: the length in the line at byte %d is wrong: there is no line end after %d bytes", e.offset-1, e.line, n)
	}
	return grown[:begin+n], nil
}

func (e *exportReader) header() (exportHeader, error) {
	var h exportHeader
	line, err := e.next()
	if err != nil {
		return h, err
	}
	format, ok := bytes.CutPrefix(line, []byte(exportMagic))
	if !ok {
		return h, corrupt("this is no export of instar: it does not begin with %q", exportMagic)
	}
	if string(format) != strconv.Itoa(ExportFormat) {
		return h, core.Errorf(core.CodeUnsupported, "export is in format %q, this instar reads format %d", format, ExportFormat).
			WithHint("verify it with the version of instar that wrote it, or a newer one")
	}
	if line, err = e.next(); err != nil {
		return h, err
	}
	origin, ok := bytes.CutPrefix(line, []byte("origin "))
	if !ok || len(origin) == 0 {
		return h, corrupt("byte %d: want the line \"origin NAME\"", e.line)
	}
	h.origin = string(origin)
	if line, err = e.next(); err != nil {
		return h, err
	}
	count, ok := bytes.CutPrefix(line, []byte("records "))
	if h.records, err = strconv.ParseUint(string(count), 10, 64); !ok || err != nil {
		return h, corrupt("byte %d: want the line \"records COUNT\"", e.line)
	}
	err = e.checkpoints(&h)
	return h, err
}

// checkpoints reads the checkpoint frames; a line that begins a record or the end is left unread.
func (e *exportReader) checkpoints(h *exportHeader) error {
	const word = "checkpoint "
	for {
		peek, err := e.in.Peek(len(word))
		switch {
		case err != nil && !errors.Is(err, io.EOF):
			return fmt.Errorf("read export at byte %d: %w", e.offset, err)
		case string(peek) == word:
		case len(h.checkpoints) == 0:
			return corrupt("byte %d: the export has no checkpoint, or is cut off here", e.offset)
		default:
			return nil
		}
		line, err := e.next()
		if err != nil {
			return err
		}
		size, err := strconv.Atoi(string(line[len(word):]))
		if err != nil || size < 0 || size > maxCheckpoint {
			return corrupt("byte %d: %q is no length of a checkpoint", e.line, line[len(word):])
		}
		text, err := e.body(nil, size)
		if err != nil {
			return err
		}
		h.checkpoints = append(h.checkpoints, string(text))
	}
}

// recordLine parses "record SEQ LENGTH LEAFHASH"; the 64 digits of the hash begin at name.
func (e *exportReader) recordLine(line []byte) (seq uint64, size, name int, err error) {
	const word = "record "
	bad := func() (uint64, int, int, error) {
		return 0, 0, 0, corrupt("byte %d: want the line \"record SEQ LENGTH LEAFHASH\", have %.80q", e.line, line)
	}
	if len(line) < len(word) || string(line[:len(word)]) != word {
		return bad()
	}
	seq, rest, ok := cutNumber(line[len(word):])
	if !ok {
		return bad()
	}
	length, rest, ok := cutNumber(rest)
	if !ok || len(rest) != hex.EncodedLen(len(core.Hash{})) {
		return bad()
	}
	if length > core.MaxTxnBytes {
		return 0, 0, 0, corrupt("byte %d: record of %d bytes, a record has at most %d", e.line, length, core.MaxTxnBytes)
	}
	return seq, int(length), len(line) - len(rest), nil //nolint:gosec // bounded by MaxTxnBytes
}

func cutNumber(line []byte) (n uint64, rest []byte, ok bool) {
	i := 0
	for ; i < len(line) && i < 19 && line[i] >= '0' && line[i] <= '9'; i++ {
		n = n*10 + uint64(line[i]-'0')
	}
	if i == 0 || i == len(line) || line[i] != ' ' {
		return 0, nil, false
	}
	return n, line[i+1:], true
}
