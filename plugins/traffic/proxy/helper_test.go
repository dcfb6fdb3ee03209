package proxy_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/instarhq/instar/plugins/traffic/proxy"
	"github.com/instarhq/instar/sdk"
)

// patience is how long a test waits for what must come.
const patience = 10 * time.Second

// rig is a driver with one HTTP route, and what a test does to it.
type rig struct {
	t      testing.TB
	dir    string
	driver *proxy.Driver
	route  sdk.Route
	exited chan struct{} // closed when driver would end its process; nil for the first
}

// newRig makes a driver with a route "web" at a free address, without pools yet.
func newRig(t *testing.T) *rig {
	t.Helper()
	dir := t.TempDir()
	return &rig{t: t, dir: dir, driver: newDriver(t, dir), route: sdk.Route{
		ID: "web", Listen: freeAddress(t), Protocol: sdk.ProtocolHTTP, Drain: time.Minute,
	}}
}

// apply applies the route with the next generation and these pools.
func (r *rig) apply(pools ...sdk.Pool) {
	r.t.Helper()
	r.route.Generation++
	r.route.Pools = pools
	if err := r.driver.Apply(context.Background(), r.route); err != nil {
		r.t.Fatalf("Apply: %v", err)
	}
}

func (r *rig) observe() sdk.Observation {
	r.t.Helper()
	o, err := r.driver.Observe(context.Background(), r.route.ID)
	if err != nil {
		r.t.Fatalf("Observe: %v", err)
	}
	return o
}

// endpoint is what is observed of the first endpoint of the first pool.
func (r *rig) endpoint() sdk.EndpointObservation {
	r.t.Helper()
	return r.observe().Pools[0].Endpoints[0]
}

func (r *rig) url(path string) string { return "http://" + r.route.Listen + path }

// serve starts a backend and sends all requests to it.
func (r *rig) serve(h http.HandlerFunc) {
	r.t.Helper()
	r.apply(pool(1, backend(r.t, h)))
}

// pool is an active pool.
func pool(revision int, addresses ...string) sdk.Pool {
	p := sdk.Pool{Revision: revision, Weight: 1}
	for i, a := range addresses {
		p.Endpoints = append(p.Endpoints, sdk.Endpoint{ID: fmt.Sprintf("i%d-%d", revision, i), Address: a})
	}
	return p
}

// backend starts an HTTP server and returns its address.
func backend(t testing.TB, h http.HandlerFunc) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: h, ReadHeaderTimeout: patience}
	go func() { _ = server.Serve(ln) }()
	t.Cleanup(func() { _ = server.Close() })
	return ln.Addr().String()
}

// rawBackend starts a server that gives each connection to serve.
func rawBackend(t testing.TB, serve func(net.Conn, *bufio.Reader)) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = c.Close() }()
				serve(c, bufio.NewReader(c))
			}()
		}
	}()
	return ln.Addr().String()
}

// readHead reads up to the empty line that ends a head.
func readHead(t testing.TB, r *bufio.Reader) string {
	var head strings.Builder
	for {
		line, err := r.ReadString('\n')
		head.WriteString(line)
		if err != nil || line == "\r\n" {
			if err != nil && err != io.EOF {
				t.Logf("reading a head: %v", err)
			}
			return head.String()
		}
	}
}

func freeAddress(t testing.TB) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	return ln.Addr().String()
}

// client is an HTTP client with connections of its own.
func client(t testing.TB) *http.Client {
	transport := &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 2 * patience}
}

// h2client is an HTTP/2 client without TLS, by prior knowledge.
func h2client(t testing.TB) *http.Client {
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: protocols, DisableCompression: true}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 2 * patience}
}

// text reads an answer whole.
func text(t testing.TB, resp *http.Response, err error) string {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("reading the answer: %v", err)
	}
	return string(body)
}

// dial opens a connection to the rig's route.
func (r *rig) dial() (net.Conn, *bufio.Reader) {
	r.t.Helper()
	c, err := net.Dial("tcp", r.route.Listen)
	if err != nil {
		r.t.Fatal(err)
	}
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = c.Close() })
	return c, bufio.NewReader(c)
}

// raw sends bytes over a fresh connection and returns all that comes back until the proxy closes.
func (r *rig) raw(send string) string {
	r.t.Helper()
	c, in := r.dial()
	if _, err := io.WriteString(c, send); err != nil {
		r.t.Fatal(err)
	}
	got, err := io.ReadAll(in)
	if err != nil {
		r.t.Errorf("after %q: %v", got, err)
	}
	return string(got)
}

func mkdir(dir string) error { return os.MkdirAll(dir, 0o700) }

// knock connects to the door of a state directory, sends something, and goes away.
func knock(t testing.TB, dir, send string) {
	t.Helper()
	d, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = d.Close() }()
	c, err := net.Dial("unix", fmt.Sprintf("/proc/self/fd/%d/door", d.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(c, send)
	_ = c.Close()
}

// eventually polls until ok.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", patience, what)
		}
		<-time.After(time.Millisecond)
	}
}
