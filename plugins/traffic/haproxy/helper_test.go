package haproxy_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	haproxybalancer "github.com/instarhq/instar/e2e/balancer"
	"github.com/instarhq/instar/plugins/traffic/haproxy"
	"github.com/instarhq/instar/plugins/traffic/haproxy/layout"
	"github.com/instarhq/instar/plugins/traffic/haproxy/socket"
	"github.com/instarhq/instar/sdk"
	"github.com/instarhq/instar/sdk/sdktest"
)

// balancer is a real HAProxy, with a state directory for its driver.
type balancer struct {
	sdktest.T
	*haproxybalancer.Balancer
	state string
}

// startBalancer runs HAProxy with an admin's part, and with what a driver without routes has written for it before: with
// that it can begin, and need not be reloaded at once. The first one begins with nothing but the admin's part.
func startBalancer(t sdktest.T) *balancer {
	t.Helper()
	b := makeBalancer(t)
	seen := version.Load()
	if seen != nil {
		b.foresee(*seen)
	}
	b.start()
	if seen == nil {
		procs, err := socket.Master{Path: b.Socket()}.Processes(b.Context())
		if err != nil {
			t.Fatalf("%v", err)
		}
		if w, ok := procs.Current(); ok {
			version.Store(&w.Version)
		}
	}
	return b
}

// version is that of the HAProxy under test, when one has been seen.
var version atomic.Pointer[string]

// foresee has a driver write its files for an HAProxy of a version that does not run yet.
func (b *balancer) foresee(version string) {
	b.Helper()
	state := layout.New()
	state.Version = version
	if err := layout.Save(b.state, state); err != nil {
		b.Fatalf("%v", err)
	}
	d := haproxy.New(haproxy.WithLogger(hclog.NewNullLogger()))
	if err := d.Configure(b.Context(), b.configure()); err != nil {
		b.Fatalf("Configure: %v", err)
	}
	b.shut(d)
}

// makeBalancer is startBalancer without its HAProxy.
func makeBalancer(t sdktest.T) *balancer {
	t.Helper()
	made, err := haproxybalancer.Make()
	if err != nil {
		t.Fatalf("%v", err)
	}
	b := &balancer{T: t, Balancer: made, state: filepath.Join(made.Dir(), "state")}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("HAProxy says:\n%s", made.Log())
		}
		if err := made.Close(); err != nil {
			t.Errorf("%v", err)
		}
	})
	if err := os.Mkdir(b.state, 0o700); err != nil {
		t.Fatalf("%v", err)
	}
	return b
}

// start runs HAProxy again.
func (b *balancer) start() {
	b.Helper()
	if err := b.Start(b.Context()); err != nil {
		b.Fatalf("%v", err)
	}
}

// await polls until the condition holds.
func (b *balancer) await(what string, condition func() bool) {
	b.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for pause := 2 * time.Millisecond; !condition(); pause = min(2*pause, 50*time.Millisecond) {
		if time.Now().After(deadline) {
			b.Fatalf("not within 30 s: %s", what)
		}
		<-time.After(pause)
	}
}

// configure is what a driver for this HAProxy is configured with; more are attributes NAME, VALUE.
func (b *balancer) configure(more ...any) sdk.ConfigureRequest {
	b.Helper()
	attributes := map[string]any{
		"master_socket": b.Socket(), "directory": b.Directory(), "slots": 4, "check_interval": "50ms",
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

// hosts counts the loopback addresses that were given.
var hosts atomic.Uint32

// free is a loopback address that nobody listens at, at a host of its own: nobody is given the port meanwhile.
func (b *balancer) free() string {
	b.Helper()
	n := hosts.Add(1)
	l, err := net.Listen("tcp", fmt.Sprintf("127.%d.%d.%d:0", 64+os.Getpid()%64, n/250%250, n%250+1))
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
