package haproxy_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	haproxybalancer "github.com/instarhq/instar/e2e/balancer"
	"github.com/instarhq/instar/plugins/traffic/haproxy"
	"github.com/instarhq/instar/sdk"
	"github.com/instarhq/instar/sdk/sdktest"
)

// balancer is a real HAProxy, with a state directory for its driver.
type balancer struct {
	sdktest.T
	*haproxybalancer.Balancer
	state string
}

// startBalancer runs HAProxy with nothing but an admin's part.
func startBalancer(t sdktest.T) *balancer {
	t.Helper()
	running, err := haproxybalancer.New(t.Context())
	if err != nil {
		t.Fatalf("%v", err)
	}
	b := &balancer{T: t, Balancer: running, state: filepath.Join(running.Dir(), "state")}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("HAProxy says:\n%s", running.Log())
		}
		if err := running.Close(); err != nil {
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
