package sdktest

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/instarhq/instar/sdk"
)

// backend is an instance for a data plane to send requests to. It answers with its revision; a request for
// /slow is answered when the check lets it.
type backend struct {
	revision int
	address  string
	requests atomic.Int64
	preview  atomic.Int64  // requests that still had the preview header
	arrived  chan struct{} // one for each slow request that has come
	release  chan struct{} // closed: slow requests are answered
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
	if r.URL.Path == "/slow" {
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

// client sends requests to one route.
type client struct {
	http *http.Client
	base string
}

func (c *trafficRun) client(r sdk.Route) *client {
	c.Helper()
	if !c.DataPlane {
		c.Skipf("the fixture has no data plane")
	}
	transport := &http.Transport{MaxIdleConnsPerHost: 16}
	c.Cleanup(transport.CloseIdleConnections)
	return &client{&http.Client{Transport: transport, Timeout: patience}, "http://" + r.Listen}
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
func (b *backend) await(t T) {
	t.Helper()
	select {
	case <-b.arrived:
	case <-time.After(patience):
		t.Fatalf("the request did not arrive at revision %d within %s", b.revision, patience)
	}
}
