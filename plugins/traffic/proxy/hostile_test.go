package proxy_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// Whatever two parties could read differently is refused before an endpoint sees it, and the connection
// ends, so nothing behind it is taken for a request.
func TestSmugglingIsRefused(t *testing.T) {
	r := newRig(t)
	var reached atomic.Int64
	r.serve(func(http.ResponseWriter, *http.Request) { reached.Add(1) })
	const hidden = "GET /hidden HTTP/1.1\r\nHost: x\r\n\r\n"
	for name, c := range map[string]struct {
		send   string
		status int
	}{
		"length and chunked":     {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
		"two lengths":            {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nContent-Length: 4\r\n\r\n", 400},
		"chunked twice":          {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n", 400},
		"chunked, not last":      {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, identity\r\n\r\n", 501},
		"space before the colon": {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length : 4\r\n\r\n", 400},
		"folded":                 {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding:\r\n chunked\r\n\r\n", 400},
		"bare LF":                {"GET / HTTP/1.1\nHost: x\n\n", 400},
		"bare CR":                {"GET / HTTP/1.1\r\nHost: x\rX: y\r\n\r\n", 400},
		"chunked in 1.0":         {"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
		"no host":                {"GET / HTTP/1.1\r\n\r\n", 400},
		"two hosts":              {"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400},
		"version":                {"GET / HTTP/3.0\r\nHost: x\r\n\r\n", 505},
		"CONNECT":                {"CONNECT x:80 HTTP/1.1\r\nHost: x\r\n\r\n", 405},
		"TLS to a plain port":    {"\x16\x03\x01\x00\xa5\x01\x00\r\n\r\n", 400},
		"expectation":            {"POST / HTTP/1.1\r\nHost: x\r\nExpect: more\r\nContent-Length: 1\r\n\r\n", 417},
		"preface, and then not":  {"PRI * HTTP/2.0\r\n\r\n", 0},
	} {
		got := r.raw(c.send + hidden)
		if c.status == 0 {
			continue // it is only closed
		}
		if !strings.HasPrefix(got, fmt.Sprintf("HTTP/1.1 %d ", c.status)) || !strings.Contains(got, "Connection: close\r\n") {
			t.Errorf("%s: answered %q, want %d and close", name, got, c.status)
		}
		if strings.Count(got, "HTTP/1.1 ") != 1 {
			t.Errorf("%s: more than one answer: %q", name, got)
		}
	}
	if n := reached.Load(); n != 0 {
		t.Errorf("%d of these requests reached the endpoint", n)
	}
}

func TestMalformedChunksAreRefused(t *testing.T) {
	r := newRig(t)
	var whole atomic.Int64
	r.serve(func(_ http.ResponseWriter, req *http.Request) {
		if _, err := io.ReadAll(req.Body); err == nil {
			whole.Add(1)
		}
	})
	for _, body := range []string{"zz\r\n", "-1\r\n", "3\r\nabcX", "1\nA\r\n0\r\n\r\n", "0\r\nbad trailer\r\n\r\n", "fffffffffffffffff\r\n", "0x1\r\na\r\n"} {
		got := r.raw("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n" + body + "\r\n\r\n")
		if !strings.HasPrefix(got, "HTTP/1.1 400 ") {
			t.Errorf("%q: answered %q", body, got)
		}
	}
	if n := whole.Load(); n != 0 {
		t.Errorf("the endpoint took %d of these bodies for whole", n)
	}
	if e := r.endpoint(); e.Errors != 0 || e.InFlight != 0 {
		t.Errorf("clients' mistakes count as the endpoint's: %+v", e)
	}
}

// What HTTP/2 can carry in a target and HTTP/1.1 cannot must not become part of another request line.
func TestHTTP2TargetsAreChecked(t *testing.T) {
	r := newRig(t)
	var reached atomic.Int64
	r.serve(func(http.ResponseWriter, *http.Request) { reached.Add(1) })
	for _, path := range []string{"/a HTTP/1.1", "/a b", "/#x", "/%zz"} {
		if status := h2status(t, r, path); status != "400" && status != "PROTOCOL_ERROR" {
			t.Errorf("target %q is answered with %s", path, status)
		}
	}
	if status := h2status(t, r, "/fine"); status != "200" || reached.Load() != 1 {
		t.Errorf("a sound target is answered with %s, and %d requests reached the endpoint", status, reached.Load())
	}
}

// h2status sends one GET with exactly this :path and returns the :status.
func h2status(t *testing.T, r *rig, path string) (status string) {
	t.Helper()
	c, in := r.dial()
	_, _ = io.WriteString(c, http2.ClientPreface)
	framer := http2.NewFramer(c, in)
	framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	for _, f := range [][2]string{{":method", "GET"}, {":scheme", "http"}, {":authority", "x"}, {":path", path}} {
		if err := encoder.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]}); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(framer.WriteSettings(), framer.WriteHeaders(http2.HeadersFrameParam{
		StreamID: 1, BlockFragment: block.Bytes(), EndStream: true, EndHeaders: true,
	})); err != nil {
		t.Fatal(err)
	}
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		switch frame := frame.(type) {
		case *http2.MetaHeadersFrame:
			return frame.PseudoValue("status")
		case *http2.RSTStreamFrame:
			return frame.ErrCode.String()
		}
	}
}

func TestLimits(t *testing.T) {
	r := newRig(t)
	r.serve(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") })
	head := "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nA: "
	if got := r.raw(head + strings.Repeat("a", 60<<10) + "\r\n\r\n"); !strings.HasPrefix(got, "HTTP/1.1 200 ") {
		t.Errorf("a head of 60 KiB: %.60q", got)
	}
	if got := r.raw(head + strings.Repeat("a", 70<<10) + "\r\n\r\n"); !strings.HasPrefix(got, "HTTP/1.1 431 ") {
		t.Errorf("a head of 70 KiB: %.60q", got)
	}
	if got := r.raw(head + "b\r\n" + strings.Repeat("A: b\r\n", 300) + "\r\n"); !strings.HasPrefix(got, "HTTP/1.1 431 ") {
		t.Errorf("300 fields: %.60q", got)
	}
	r.route.Config = []byte(`{"max_body": 10}`)
	r.serve(func(w http.ResponseWriter, req *http.Request) {
		n, _ := io.Copy(io.Discard, req.Body)
		_, _ = fmt.Fprint(w, n)
	})
	clients := []*http.Client{client(t), h2client(t)}
	for i := range 100 { // the endpoint's answer to too much would race with the refusal
		c := clients[i%2]
		for body, want := range map[string]int{"0123456789": 200, "0123456789a": 413} {
			for _, reader := range []io.Reader{strings.NewReader(body), io.MultiReader(strings.NewReader(body))} {
				resp, err := c.Post(r.url("/"), "", reader)
				if got := text(t, resp, err); resp.StatusCode != want {
					t.Errorf("%d bytes of 10 (%T): %s %q", len(body), reader, resp.Status, got)
				}
			}
		}
	}
}

// slow makes a rig with time-outs of a tenth of a second.
func slow(t *testing.T) *rig {
	t.Helper()
	r := newRig(t)
	req := configure(r.dir)
	req.Config = []byte(`{"read_header_timeout":"150ms","idle_timeout":"150ms"}`)
	if err := r.driver.Configure(t.Context(), req); err != nil {
		t.Fatal(err)
	}
	r.serve(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") })
	return r
}

func TestSlowHeadsEnd(t *testing.T) {
	t.Parallel()
	r := slow(t)
	c, in := r.dial()
	began := time.Now()
	stop := make(chan struct{})
	defer close(stop)
	go func() { // a byte now and then, for ever
		for _, b := range []byte("GET / HTTP/1.1\r\nHost: x\r\n" + strings.Repeat("A: b\r\n", 10000)) {
			if _, err := c.Write([]byte{b}); err != nil {
				return
			}
			select {
			case <-stop:
				return
			case <-time.After(10 * time.Millisecond):
			}
		}
	}()
	got, _ := io.ReadAll(in) // the end may be a reset: bytes keep coming
	if took := time.Since(began); took > 5*time.Second || len(got) > 0 && !strings.HasPrefix(string(got), "HTTP/1.1 408 ") {
		t.Errorf("a slow head got %q after %s", got, took)
	}
}

func TestIdleConnectionsEnd(t *testing.T) {
	t.Parallel()
	r := slow(t)
	for name, send := range map[string]string{"silent": "", "after a request": "GET / HTTP/1.1\r\nHost: x\r\n\r\n"} {
		c, in := r.dial()
		_, _ = io.WriteString(c, send)
		began := time.Now()
		got, err := io.ReadAll(in)
		if took := time.Since(began); err != nil || took > 5*time.Second || strings.Contains(string(got), "408") {
			t.Errorf("%s: ended with %q, %v after %s", name, got, err, took)
		}
	}
}

func TestMaxConnections(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	req := configure(r.dir)
	req.Config = []byte(`{"max_connections": 2}`)
	if err := r.driver.Configure(t.Context(), req); err != nil {
		t.Fatal(err)
	}
	r.serve(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") })
	const get = "GET / HTTP/1.1\r\nHost: x\r\n\r\n"
	first, firstIn := r.dial()
	second, secondIn := r.dial()
	_, _ = io.WriteString(first, get)
	_, _ = io.WriteString(second, get)
	readHead(t, firstIn)
	readHead(t, secondIn)
	third, thirdIn := r.dial() // waits in the kernel's queue
	_, _ = io.WriteString(third, get)
	if err := third.SetReadDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if b, err := thirdIn.ReadByte(); err == nil {
		t.Fatalf("a connection over the limit got %q", b)
	}
	_ = first.Close()
	if err := third.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if head := readHead(t, thirdIn); !strings.HasPrefix(head, "HTTP/1.1 200 ") {
		t.Errorf("when another one had left, it got %q", head)
	}
}

func TestErrorsSayNothingOfTheInside(t *testing.T) {
	r := newRig(t)
	address := freeAddress(t)
	r.apply(pool(1, address))
	for _, c := range []*http.Client{client(t), h2client(t)} {
		resp, err := c.Get(r.url("/"))
		got := text(t, resp, err)
		if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" {
			t.Errorf("a dead pool answers %s, Retry-After %q", resp.Status, resp.Header.Get("Retry-After"))
		}
		for _, secret := range []string{address, "127.0.0.1", "refused", "dial", "i1-0"} {
			if strings.Contains(got+fmt.Sprint(resp.Header), secret) {
				t.Errorf("the answer %q tells %q", got, secret)
			}
		}
	}
}
