package haproxy_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/instarhq/instar/plugins/traffic/haproxy"
	"github.com/instarhq/instar/plugins/traffic/haproxy/socket"
	"github.com/instarhq/instar/sdk"
	"github.com/instarhq/instar/sdk/sdktest"
)

// program is the HAProxy under test: the package's, or another version's.
func program() string {
	if path := os.Getenv("INSTAR_TEST_HAPROXY"); path != "" {
		return path
	}
	return "/usr/sbin/haproxy"
}

// balancer is a real HAProxy, with a directory for the driver.
type balancer struct {
	sdktest.T
	dir     string // short: the socket is in it
	state   string
	mu      sync.Mutex
	process *exec.Cmd
	ended   chan struct{}
	log     bytes.Buffer
}

const adminPart = `
global
    maxconn 2000
    nbthread 2
defaults
    mode http
    timeout connect 1s
    timeout client 1s
    timeout server 1s
`

// startBalancer runs HAProxy with nothing but an admin's part.
func startBalancer(t sdktest.T) *balancer {
	t.Helper()
	dir, err := os.MkdirTemp("", "instar-ha-")
	if err != nil {
		t.Fatalf("%v", err)
	}
	b := &balancer{T: t, dir: dir, state: filepath.Join(dir, "state")}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	for _, sub := range []string{b.state, b.generated()} {
		if err := os.MkdirAll(sub, 0o755); err != nil {
			t.Fatalf("%v", err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "haproxy.cfg"), []byte(adminPart), 0o644); err != nil {
		t.Fatalf("%v", err)
	}
	b.start()
	t.Cleanup(b.kill)
	return b
}

func (b *balancer) generated() string { return filepath.Join(b.dir, "instar") }
func (b *balancer) socket() string    { return filepath.Join(b.dir, "master.sock") }

// start runs HAProxy and waits for its first worker.
func (b *balancer) start() {
	b.Helper()
	b.process = exec.Command(program(), "-W", "-S", b.socket(), "-f", filepath.Join(b.dir, "haproxy.cfg"), "-f", b.generated())
	b.process.Stdout, b.process.Stderr = b, b
	b.process.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := b.process.Start(); err != nil {
		b.Fatalf("HAProxy: %v", err)
	}
	b.ended = make(chan struct{})
	go func(p *exec.Cmd, ended chan struct{}) {
		_ = p.Wait() // its end is wanted
		close(ended)
	}(b.process, b.ended)
	b.await("HAProxy has a worker", func() bool {
		procs, err := socket.Master{Path: b.socket()}.Processes(context.Background())
		_, ok := procs.Current()
		return err == nil && ok
	})
}

// Write implements io.Writer: HAProxy's log.
func (b *balancer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.log.Write(p)
}

// kill ends master and workers at once.
func (b *balancer) kill() {
	_ = syscall.Kill(-b.process.Process.Pid, syscall.SIGKILL) // fails if it has ended
	<-b.ended
	if b.Failed() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.Logf("HAProxy says:\n%s", b.log.String())
	}
}

// await polls until the condition holds.
func (b *balancer) await(what string, condition func() bool) {
	b.Helper()
	deadline := time.Now().Add(30 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		if time.Now().After(deadline) {
			b.Fatalf("not within 30 s: %s", what)
		}
		<-tick.C
	}
}

// configure is what a driver for this HAProxy is configured with; more are attributes NAME, VALUE.
func (b *balancer) configure(more ...any) sdk.ConfigureRequest {
	b.Helper()
	attributes := map[string]any{
		"master_socket": b.socket(), "directory": b.generated(), "slots": 4, "check_interval": "50ms",
	}
	for i := 0; i+1 < len(more); i += 2 {
		attributes[more[i].(string)] = more[i+1]
	}
	config, err := json.Marshal(attributes)
	if err != nil {
		b.Fatalf("%v", err)
	}
	return sdk.ConfigureRequest{Target: "local", Node: "n1", Cluster: "c1", Generation: 1, StateDir: b.state, Config: config}
}

// driver makes a driver for this HAProxy; it is closed after the test.
func (b *balancer) driver(more ...any) *haproxy.Driver {
	b.Helper()
	logger := hclog.NewNullLogger()
	if os.Getenv("INSTAR_TEST_LOG") != "" {
		logger = hclog.New(&hclog.LoggerOptions{Level: hclog.Debug})
	}
	d := haproxy.New(haproxy.WithLogger(logger))
	if err := d.Configure(b.Context(), b.configure(more...)); err != nil {
		b.Fatalf("Configure: %v", err)
	}
	b.Cleanup(func() { b.shut(d) })
	return d
}

func (b *balancer) shut(d *haproxy.Driver) {
	b.Helper()
	if err := d.Close(context.Background()); err != nil {
		b.Errorf("Close: %v", err)
	}
}

// free is a loopback address that nobody listens at now.
func (b *balancer) free() string {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatalf("%v", err)
	}
	defer func() { _ = l.Close() }() // only its address was wanted
	return l.Addr().String()
}

// route is a route of one endpoint for each address, revision 1.
func (b *balancer) route(id string, addresses ...string) sdk.Route {
	b.Helper()
	return sdk.Route{
		ID: id, Generation: 1, Listen: b.free(), Protocol: sdk.ProtocolHTTP, Drain: 5 * time.Second,
		Pools: []sdk.Pool{pool(1, 1, addresses...)},
	}
}

func pool(revision, weight int, addresses ...string) sdk.Pool {
	p := sdk.Pool{Revision: revision, Weight: weight}
	for i, a := range addresses {
		p.Endpoints = append(p.Endpoints, sdk.Endpoint{ID: fmt.Sprintf("i-%d-%d", revision, i), Address: a})
	}
	return p
}

// next is the route with a higher generation and other pools.
func next(r sdk.Route, pools ...sdk.Pool) sdk.Route {
	r.Generation++
	r.Pools = pools
	return r
}

func apply(t sdktest.T, d sdk.Traffic, r sdk.Route) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := d.Apply(ctx, r); err != nil {
		t.Fatalf("Apply %s generation %d: %v", r.ID, r.Generation, err)
	}
}

func wantCode(t *testing.T, err error, code sdk.Code, words ...string) {
	t.Helper()
	if sdk.CodeOf(err) != code {
		t.Fatalf("error is %v (%s), want %s", err, sdk.CodeOf(err), code)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("error is %q, want it to say %q", err, w)
		}
	}
}
