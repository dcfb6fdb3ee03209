package sdktest

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/instarhq/instar/sdk"
)

// backend is an instance for a data plane to send requests to. It answers with its revision:
//
//	/slow      when the check lets it
//	/parts     with a first line at once, and a second when the check lets it
//	/status/N  with that status
//	/upgrade   by changing the protocol: then each line comes back, with the revision before it
type backend struct {
	revision int
	address  string
	requests atomic.Int64
	preview  atomic.Int64  // requests that still had the preview header
	arrived  chan struct{} // one for each request that waits to be let go
	release  chan struct{} // each value lets one go; closed: all
}

func startBackend(t T, revision int) *backend {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("backend: %v", err)
	}
	b := &backend{
		revision: revision, address: l.Addr().String(), arrived: make(chan struct{}, 64), release: make(chan struct{}),
	}
	server := &http.Server{Handler: b, ReadHeaderTimeout: patience}
	go func() { _ = server.Serve(l) }() // ends with Close
	t.Cleanup(func() { _ = server.Close() })
	return b
}

// ServeHTTP answers "revision N", and the request's body after it.
func (b *backend) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b.requests.Add(1)
	if r.Header.Get(sdk.PreviewHeader) != "" {
		b.preview.Add(1)
	}
	if code, ok := strings.CutPrefix(r.URL.Path, "/status/"); ok {
		status, err := strconv.Atoi(code)
		if err != nil {
			status = http.StatusBadRequest
		}
		w.WriteHeader(status)
		return
	}
	switch r.URL.Path {
	case "/upgrade":
		b.upgrade(w)
		return
	case "/parts":
		_, _ = fmt.Fprintln(w, "first part")
		_ = http.NewResponseController(w).Flush() // what cannot be flushed is found missing by the client
	}
	if r.URL.Path == "/slow" || r.URL.Path == "/parts" {
		b.arrived <- struct{}{}
		select {
		case <-b.release:
		case <-r.Context().Done():
			return
		}
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the connection is gone
	}
	_, _ = fmt.Fprintf(w, "revision %d %s", b.revision, body) // fails only if the client is gone
}

// upgrade changes the protocol as WebSocket does, and then gives every line back.
func (b *backend) upgrade(w http.ResponseWriter) {
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	defer func() { _ = conn.Close() }() // both sides are done
	_, err = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n") // the answer to the example key of RFC 6455
	if err == nil {
		giveBack(conn, buffered.Reader, b.revision)
	}
}

// giveBack returns every line with a revision before it, until the other side is done.
func giveBack(conn net.Conn, lines *bufio.Reader, revision int) {
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			return
		}
		if _, err := fmt.Fprintf(conn, "revision %d: %s", revision, line); err != nil {
			return
		}
	}
}

// startEcho is a backend for TCP routes.
func startEcho(t T, revision int) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("backend: %v", err)
	}
	t.Cleanup(func() { _ = l.Close() }) // the connections end with their clients'
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = conn.Close() }() // both sides are done
				giveBack(conn, bufio.NewReader(conn), revision)
			}()
		}
	}()
	return l.Addr().String()
}

// client sends requests to one route.
type client struct {
	http *http.Client
	base string
}

func (c *trafficRun) client(r sdk.Route) *client {
	c.Helper()
	if !c.DataPlane {
		c.Skipf("not run: the fixture has no data plane")
	}
	transport := &http.Transport{MaxIdleConnsPerHost: 16}
	c.Cleanup(transport.CloseIdleConnections)
	return &client{&http.Client{Transport: transport, Timeout: 2 * c.patience()}, "http://" + r.Listen}
}

// get returns the status and the body of an answer.
func (c *client) get(ctx context.Context, path string, header ...string) (int, string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+path, nil)
	if err != nil {
		return 0, "", err
	}
	for n := 0; n+1 < len(header); n += 2 {
		req.Header.Set(header[n], header[n+1])
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = resp.Body.Close() }() // read to its end
	body, err := io.ReadAll(resp.Body)
	return resp.StatusCode, strings.TrimSpace(string(body)), err
}

// want wants a revision to answer.
func (c *client) want(t T, revision int, header ...string) {
	t.Helper()
	status, body, err := c.get(t.Context(), "/", header...)
	if err != nil || status != http.StatusOK || body != fmt.Sprintf("revision %d", revision) {
		t.Errorf("GET: %d %q, %v; want 200 from revision %d", status, body, err, revision)
	}
}

// await waits until a slow request has arrived.
func (b *backend) await(t T, limit time.Duration) {
	t.Helper()
	select {
	case <-b.arrived:
	case <-time.After(limit):
		t.Fatalf("the request did not arrive at revision %d within %s", b.revision, limit)
	}
}

// letOne lets one waiting request go. There is none any more if the data plane has cut it.
func (b *backend) letOne(t T, limit time.Duration) {
	t.Helper()
	select {
	case b.release <- struct{}{}:
	case <-time.After(limit):
		t.Fatalf("no request waits at revision %d any more: it was cut", b.revision)
	}
}

// occupy takes an address until the function that it returns is called.
func occupy(t T, address string) (leave func()) {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatalf("occupying %s: %v", address, err)
	}
	leave = func() { _ = l.Close() } // twice is no harm
	t.Cleanup(leave)
	return leave
}
