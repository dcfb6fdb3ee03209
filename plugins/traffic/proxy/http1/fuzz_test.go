package http1

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"net/http/httputil"
	"strings"
	"testing"
)

// FuzzRequest holds the parser to net/http's: what is accepted here is accepted there, and read the same.
func FuzzRequest(f *testing.F) {
	for _, seed := range []string{
		"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
		"GET http://a.example/b?c HTTP/1.1\r\nHost: b\r\nConnection: close\r\n\r\n",
		"POST /p%20q HTTP/1.1\r\nHost: [::1]:80\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\nhello",
		"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTrailer: A\r\n\r\n3\r\nabc\r\n0\r\nA: b\r\n\r\n",
		"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
		"OPTIONS * HTTP/1.1\r\nHost: x\r\nUpgrade: a\r\nConnection: upgrade\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: x\r\nA:\tb\t\r\n\r\nGET / HTTP/1.1\r\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		end := HeadEnd(in, 0)
		if end < 0 {
			return
		}
		var r Request
		if r.Parse(in[:end]) != nil {
			return
		}
		other, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(in)))
		if err != nil {
			t.Fatalf("accepted, and net/http says: %v", err)
		}
		if string(r.Method) != other.Method || r.Minor != other.ProtoMinor || string(r.Host) != other.Host {
			t.Fatalf("%s %s 1.%d, net/http has %s %s 1.%d", r.Method, r.Host, r.Minor, other.Method, other.Host, other.ProtoMinor)
		}
		if r.Length != other.ContentLength || r.Chunked != (len(other.TransferEncoding) > 0) {
			t.Fatalf("length %d chunked %v, net/http has %d %v", r.Length, r.Chunked, other.ContentLength, other.TransferEncoding)
		}
		if r.Close != other.Close && r.Minor == 1 {
			t.Fatalf("close %v, net/http has %v", r.Close, other.Close)
		}
		sameFields(t, r.Fields, other.Header)
		compareBody(t, in[end:], &r, other.Body)
	})
}

// sameFields compares the fields that net/http does not take away.
func sameFields(t *testing.T, fields []Field, header http.Header) {
	own := make(http.Header)
	for _, f := range fields {
		switch name := strings.ToLower(string(f.Name)); name {
		case "host", "transfer-encoding", "trailer", "content-length", "pragma", "cache-control":
		default:
			own.Add(string(f.Name), string(f.Value))
		}
	}
	for name, values := range own {
		if strings.Join(values, "\n") != strings.Join(header[name], "\n") {
			t.Fatalf("field %s is %q, net/http has %q", name, values, header[name])
		}
	}
}

func compareBody(t *testing.T, rest []byte, r *Request, other io.Reader) {
	src := NewReader(bytes.NewReader(rest), nil)
	var b Body
	b.Reset(&src, r.Length, r.Chunked)
	own, err := io.ReadAll(&b)
	if err != nil {
		return // stricter is fine
	}
	theirs, err := io.ReadAll(other)
	if err != nil || !bytes.Equal(own, theirs) {
		t.Fatalf("body %q, net/http has %q, %v", own, theirs, err)
	}
}

// FuzzResponse holds the other parser to net/http's.
func FuzzResponse(f *testing.F) {
	for _, seed := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
		"HTTP/1.0 404 Not Found\r\n\r\nuntil the end",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x\r\nok\r\n0\r\n\r\n",
		"HTTP/1.1 304 Not Modified\r\nContent-Length: 3\r\n\r\n",
	} {
		f.Add([]byte(seed), false)
	}
	f.Fuzz(func(t *testing.T, in []byte, toHead bool) {
		end := HeadEnd(in, 0)
		if end < 0 {
			return
		}
		var r Response
		if r.Parse(in[:end], toHead) != nil || r.Status < 200 {
			return
		}
		method := http.MethodGet
		if toHead {
			method = http.MethodHead
		}
		other, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(in)), &http.Request{Method: method})
		if err != nil {
			t.Fatalf("accepted, and net/http says: %v", err)
		}
		if r.Status != other.StatusCode || r.Minor != other.ProtoMinor {
			t.Fatalf("%d 1.%d, net/http has %d 1.%d", r.Status, r.Minor, other.StatusCode, other.ProtoMinor)
		}
		src := NewReader(bytes.NewReader(in[end:]), nil)
		var b Body
		b.Reset(&src, r.Length, r.Chunked)
		own, err := io.ReadAll(&b)
		if err != nil {
			return
		}
		theirs, err := io.ReadAll(other.Body)
		if err != nil || !bytes.Equal(own, theirs) {
			t.Fatalf("body %q, net/http has %q, %v", own, theirs, err)
		}
	})
}

// FuzzChunked holds the chunk reader to net/http's, however the bytes arrive.
func FuzzChunked(f *testing.F) {
	f.Add([]byte("3\r\nabc\r\n0\r\n\r\n"), 5)
	f.Add([]byte("1;a=b\r\na\r\n00\r\nA: b\r\n\r\nnext"), 1)
	f.Fuzz(func(t *testing.T, in []byte, step int) {
		src := NewReader(&stepReader{in, max(1, step%17)}, make([]byte, 8))
		var b Body
		b.Reset(&src, -1, true)
		own, err := io.ReadAll(&b)
		if err != nil {
			return
		}
		theirs, err := io.ReadAll(httputil.NewChunkedReader(bytes.NewReader(in)))
		if err != nil || !bytes.Equal(own, theirs) {
			t.Fatalf("body %q, net/http has %q, %v", own, theirs, err)
		}
	})
}

// stepReader gives its bytes in steps of a size.
type stepReader struct {
	left []byte
	step int
}

func (s *stepReader) Read(p []byte) (int, error) {
	if len(s.left) == 0 {
		return 0, io.EOF
	}
	n := copy(p, s.left[:min(s.step, len(s.left))])
	s.left = s.left[n:]
	return n, nil
}
