package http1

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func readBody(src io.Reader, length int64, chunked bool) (string, *Body, *Reader, error) {
	r := NewReader(src, make([]byte, 64))
	var b Body
	b.Reset(&r, length, chunked)
	data, err := io.ReadAll(&b)
	return string(data), &b, &r, err
}

func TestBody(t *testing.T) {
	for _, c := range []struct {
		name, in string
		length   int64
		chunked  bool
		want     string
		err      error
		rest     string
	}{
		{name: "length", in: "abcdef", length: 3, want: "abc", rest: "def"},
		{name: "nothing", in: "abc", length: 0, want: "", rest: "abc"},
		{name: "cut", in: "ab", length: 3, want: "ab", err: io.ErrUnexpectedEOF},
		{name: "to the end", in: "abc", length: -1, want: "abc"},
		{name: "chunks", in: "3\r\nabc\r\n0A\r\n0123456789\r\n0\r\n\r\nnext", chunked: true, want: "abc0123456789", rest: "next"},
		{name: "extensions", in: "3;a=b;c=\"d\"\r\nabc\r\n0;x\r\n\r\n", chunked: true, want: "abc"},
		{name: "trailer", in: "1\r\na\r\n0\r\nA: b\r\nC: d\r\n\r\nnext", chunked: true, want: "a", rest: "next"},
		{name: "cut chunk", in: "3\r\nab", chunked: true, want: "ab", err: io.ErrUnexpectedEOF},
		{name: "cut before the last chunk", in: "1\r\na\r\n", chunked: true, want: "a", err: io.ErrUnexpectedEOF},
		{name: "cut trailer", in: "0\r\nA: b\r\n", chunked: true, err: io.ErrUnexpectedEOF},
		{name: "no size", in: "\r\nabc\r\n", chunked: true, err: ErrBody},
		{name: "negative size", in: "-1\r\n", chunked: true, err: ErrBody},
		{name: "huge size", in: "fffffffffffffffff\r\n", chunked: true, err: ErrBody},
		{name: "size with 0x", in: "0x1\r\na\r\n", chunked: true, err: ErrBody},
		{name: "space before the extension", in: "1 ;a\r\na\r\n", chunked: true, err: ErrBody},
		{name: "bare LF after the size", in: "1\na\r\n0\r\n\r\n", chunked: true, err: ErrBody},
		{name: "bare LF in an extension", in: "1;a\nb\r\n", chunked: true, err: ErrBody},
		{name: "data longer than the size", in: "1\r\nab\r\n0\r\n\r\n", chunked: true, want: "a", err: ErrBody},
		{name: "bad trailer", in: "0\r\nA : b\r\n\r\n", chunked: true, err: ErrBody},
		{name: "bare LF in the trailer", in: "0\r\nA: b\n\n", chunked: true, err: ErrBody},
		{name: "endless extension", in: "1;" + strings.Repeat("a", 2*maxChunkLine), chunked: true, err: ErrBody},
		{name: "endless trailer", in: "0\r\n" + strings.Repeat("A: b\r\n", maxTrailer), chunked: true, err: ErrBody},
	} {
		for how, wrap := range map[string]func(io.Reader) io.Reader{
			"at once":      func(r io.Reader) io.Reader { return r },
			"byte by byte": iotest.OneByteReader,
		} {
			got, body, r, err := readBody(wrap(strings.NewReader(c.in)), c.length, c.chunked)
			if got != c.want || !errors.Is(err, c.err) {
				t.Errorf("%s, %s: read %q, %v; want %q, %v", c.name, how, got, err, c.want, c.err)
				continue
			}
			if err == nil && !body.Done() {
				t.Errorf("%s, %s: not done at the end", c.name, how)
			}
			rest, _ := io.ReadAll(r)
			if c.err == nil && string(rest) != c.rest {
				t.Errorf("%s, %s: leaves %q, want %q", c.name, how, rest, c.rest)
			}
			if c.name == "trailer" && (len(body.Trailer) != 2 || string(body.Trailer[1].Name) != "C") {
				t.Errorf("%s, %s: trailer is %v", c.name, how, body.Trailer)
			}
		}
	}
}

// Ready promises that Read does not touch the connection.
func TestBodyReadyNeverWaits(t *testing.T) {
	const in = "3\r\nabc\r\n10\r\n0123456789abcdef\r\n0\r\nA: b\r\n\r\n"
	for cut := range len(in) + 1 {
		touched := false
		src := io.MultiReader(strings.NewReader(in[:cut]), readFunc(func([]byte) (int, error) {
			touched = true
			return 0, io.EOF
		}))
		r := NewReader(src, make([]byte, 256))
		if cut > 0 {
			if err := r.Fill(256); err != nil {
				t.Fatal(err)
			}
		}
		var b Body
		b.Reset(&r, -1, true)
		var got bytes.Buffer
		var room [7]byte
		for b.Ready() {
			n, err := b.Read(room[:])
			got.Write(room[:n])
			if err != nil && !errors.Is(err, io.EOF) {
				t.Fatalf("cut at %d: %v", cut, err)
			}
		}
		if touched {
			t.Errorf("cut at %d: Ready said yes and Read went to the connection", cut)
		}
		if cut == len(in) && (got.String() != "abc0123456789abcdef" || !b.Done()) {
			t.Errorf("all is there, and only %q was ready", got.String())
		}
	}
}

type readFunc func([]byte) (int, error)

func (f readFunc) Read(p []byte) (int, error) { return f(p) }

func TestChunk(t *testing.T) {
	for _, n := range []int{1, 15, 16, 255, 4096, 65536} {
		buf := make([]byte, ChunkRoom+n+ChunkTail)
		for i := range n {
			buf[ChunkRoom+i] = byte('a' + i%26)
		}
		want := string(buf[ChunkRoom : ChunkRoom+n])
		framed := AppendLastChunk(Chunk(buf, n), []Field{{Name: []byte("A"), Value: []byte("b")}, {Name: []byte("Content-Length"), Value: []byte("3"), Kind: KindContentLength}})
		got, body, _, err := readBody(bytes.NewReader(framed), -1, true)
		if got != want || err != nil {
			t.Errorf("a chunk of %d bytes reads back as %d bytes, %v", n, len(got), err)
		}
		if len(body.Trailer) != 1 {
			t.Errorf("trailer is %v; want only the field that may be in one", body.Trailer)
		}
	}
}
