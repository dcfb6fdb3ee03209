package http1

import (
	"errors"
	"io"
)

// ErrBufferFull is returned by Reader.Fill when a head does not fit the buffer.
var ErrBufferFull = errors.New("buffer full")

// Reader buffers what comes from a connection. Unlike bufio.Reader it hands out its buffer, so that a
// head is parsed where it was received.
type Reader struct {
	Source io.Reader
	buf    []byte
	r, w   int
}

// NewReader makes a reader with the given buffer.
func NewReader(source io.Reader, buf []byte) Reader { return Reader{Source: source, buf: buf} }

// Bytes returns what was received and not consumed; valid until the next Fill.
func (r *Reader) Bytes() []byte { return r.buf[r.r:r.w] }

// Buffered returns how many bytes were received and not consumed.
func (r *Reader) Buffered() int { return r.w - r.r }

// Discard consumes n bytes, n <= Buffered. What they held stays in place until the next Fill.
func (r *Reader) Discard(n int) { r.r += n }

// Fill receives more bytes behind those that are there. It grows the buffer up to limit and returns
// ErrBufferFull beyond.
func (r *Reader) Fill(limit int) error {
	if r.r == r.w {
		r.r, r.w = 0, 0
	}
	if r.w == len(r.buf) {
		if r.r > 0 {
			r.w = copy(r.buf, r.buf[r.r:r.w])
			r.r = 0
		} else {
			if len(r.buf) >= limit {
				return ErrBufferFull
			}
			grown := make([]byte, min(limit, max(4096, 2*len(r.buf))))
			copy(grown, r.buf)
			r.buf = grown
		}
	}
	n, err := r.Source.Read(r.buf[r.w:])
	r.w += n
	if n > 0 {
		return nil
	}
	return err
}

// Shrink replaces a buffer that has grown beyond n bytes, if it is empty.
func (r *Reader) Shrink(n int) {
	if r.r == r.w && len(r.buf) > n {
		r.buf, r.r, r.w = make([]byte, n), 0, 0
	}
}

// Spare returns room behind the received bytes and Added records that n bytes were put there: for a
// reader that may not move the buffer.
func (r *Reader) Spare() []byte { return r.buf[r.w:] }

// Added records that n bytes were put into Spare.
func (r *Reader) Added(n int) { r.w += n }

// Read takes buffered bytes first, then reads from the source.
func (r *Reader) Read(p []byte) (int, error) {
	if r.r < r.w {
		n := copy(p, r.buf[r.r:r.w])
		r.r += n
		return n, nil
	}
	return r.Source.Read(p)
}
