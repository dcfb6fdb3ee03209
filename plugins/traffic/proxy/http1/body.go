package http1

import (
	"bytes"
	"errors"
	"io"
)

// Limits of chunked bodies, so that neither chunk extensions nor trailers can be used to make the proxy
// read without end.
const (
	maxChunkLine = 4096
	maxTrailer   = 16 << 10
)

// ErrBody is a chunked body that is not well formed.
var ErrBody = errors.New("malformed chunked body")

// Body reads one message's body without its framing. It returns io.EOF at the proper end and
// io.ErrUnexpectedEOF if the connection ends before.
type Body struct {
	src     *Reader
	left    int64 // of the body or of the chunk
	chunked bool
	toEOF   bool // the body ends with the connection
	done    bool
	first   bool    // no chunk was read yet
	Trailer []Field // after io.EOF of a chunked body; point into the reader's buffer
}

// Reset makes b read a body of the given framing from src.
func (b *Body) Reset(src *Reader, length int64, chunked bool) {
	*b = Body{src: src, left: length, chunked: chunked, first: true, Trailer: b.Trailer[:0]}
	switch {
	case chunked:
		b.left = 0
	case length < 0:
		b.toEOF = true
	default:
		b.done = length == 0
	}
}

// Done says whether the whole body was read.
func (b *Body) Done() bool { return b.done }

// Ready says whether Read will not have to wait for the connection.
func (b *Body) Ready() bool {
	buf := b.src.Bytes()
	if b.done || len(buf) == 0 || !b.chunked || b.left > 0 {
		return !b.done && len(buf) > 0
	}
	if !b.first {
		if len(buf) < 3 {
			return false
		}
		buf = buf[2:]
	}
	end := bytes.IndexByte(buf, '\n')
	if end < 0 {
		return false
	}
	rest := buf[end+1:]
	if buf[0] != '0' {
		return len(rest) > 0
	}
	// Maybe it is the last chunk: its trailer has to be there too.
	return len(rest) >= 2 && rest[0] == '\r' && rest[1] == '\n' || HeadEnd(rest, 0) > 0
}

// Raw says how many of the next bytes on the connection itself certainly belong to the body as they are: 0
// while there are buffered ones, or framing comes first.
func (b *Body) Raw() int64 {
	if b.done || b.toEOF || b.src.Buffered() > 0 {
		return 0
	}
	return b.left
}

// Advance records that n <= Raw bytes of the body were taken from the connection past this reader.
func (b *Body) Advance(n int) {
	b.left -= int64(n)
	b.done = b.left == 0 && !b.chunked
}

// Read reads some of the body.
func (b *Body) Read(p []byte) (int, error) {
	if b.done {
		return 0, io.EOF
	}
	if b.toEOF {
		n, err := b.src.Read(p)
		b.done = errors.Is(err, io.EOF)
		return n, err
	}
	if b.chunked && b.left == 0 {
		if err := b.nextChunk(); err != nil {
			return 0, err
		}
	}
	if int64(len(p)) > b.left {
		p = p[:b.left]
	}
	n, err := b.src.Read(p)
	b.left -= int64(n)
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	if b.left == 0 && err == nil && !b.chunked {
		b.done = true
	}
	return n, err
}

// nextChunk reads the line of the next chunk, and the trailer after the last one, then io.EOF.
func (b *Body) nextChunk() error {
	if !b.first {
		if err := b.need(2); err != nil {
			return err
		}
		if crlf := b.src.Bytes(); crlf[0] != '\r' || crlf[1] != '\n' {
			return ErrBody
		}
		b.src.Discard(2)
	}
	b.first = false
	line, err := b.line(maxChunkLine)
	if err != nil {
		return err
	}
	size, err := parseChunkLine(line)
	if err != nil {
		return err
	}
	b.src.Discard(len(line))
	if size > 0 {
		b.left = size
		return nil
	}
	if err := b.trailer(); err != nil {
		return err
	}
	b.done = true
	return io.EOF
}

// parseChunkLine reads "1f;extension CR LF". Extensions are dropped, as RFC 9112 section 7.1.1 allows.
func parseChunkLine(line []byte) (int64, error) {
	line = line[:len(line)-2]
	var size int64
	digits := 0
	for ; digits < len(line); digits++ {
		d := unhex(line[digits])
		if d < 0 {
			break
		}
		if digits == 15 {
			return 0, ErrBody
		}
		size = size<<4 | int64(d)
	}
	// White space may only end the line: between the size and ';' net/http refuses it as well.
	rest := line[digits:]
	if digits == 0 || len(rest) > 0 && rest[0] != ';' && len(trim(rest)) > 0 || !ValidValue(rest) {
		return 0, ErrBody
	}
	return size, nil
}

func (b *Body) trailer() error {
	start := 0
	for {
		buf := b.src.Bytes()
		if len(buf) >= 2 && buf[0] == '\r' && buf[1] == '\n' {
			b.src.Discard(2)
			return nil
		}
		if end := HeadEnd(buf, start); end > 0 {
			var err error
			if b.Trailer, err = parseFields(buf[:end], b.Trailer[:0]); err != nil {
				return ErrBody
			}
			b.src.Discard(end)
			return nil
		}
		if len(buf) > maxTrailer || BareLF(buf, start) {
			return ErrBody
		}
		start = len(buf)
		if err := b.fill(maxTrailer + maxChunkLine); err != nil {
			return err
		}
	}
}

// line returns the next line with its CR LF, not consumed.
func (b *Body) line(limit int) ([]byte, error) {
	for seen := 0; ; {
		buf := b.src.Bytes()
		if i := bytes.IndexByte(buf[seen:], '\n'); i >= 0 {
			if i += seen; i == 0 || buf[i-1] != '\r' || i > limit {
				return nil, ErrBody
			}
			return buf[:i+1], nil
		}
		if seen = len(buf); seen > limit {
			return nil, ErrBody
		}
		if err := b.fill(limit + 4096); err != nil {
			return nil, err
		}
	}
}

func (b *Body) need(n int) error {
	for b.src.Buffered() < n {
		if err := b.fill(maxChunkLine); err != nil {
			return err
		}
	}
	return nil
}

func (b *Body) fill(limit int) error {
	err := b.src.Fill(limit)
	switch {
	case errors.Is(err, io.EOF):
		return io.ErrUnexpectedEOF
	case errors.Is(err, ErrBufferFull):
		return ErrBody
	}
	return err
}
