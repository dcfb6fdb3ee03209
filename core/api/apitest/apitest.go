// Package apitest runs the API over an in-memory store, for tests of the API and of what calls it.
package apitest

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/api"
	"github.com/instarhq/instar/core/api/client"
	"github.com/instarhq/instar/core/audit"
	"github.com/instarhq/instar/core/coretest"
	"github.com/instarhq/instar/core/identity"
	"github.com/instarhq/instar/core/state"
)

// Version is what the server says that it is.
const Version = "9.9.9"

// Fixture is the API over an in-memory store, reached through the real client.
type Fixture struct {
	*client.Client
	Store *coretest.Store
	State *state.State
	Ops   *Operations
	URL   string
	Trust audit.Trust // in the key that signs for the server
}

// Reporter is the part of testing.TB that changing a fixture needs; scripts have one too.
type Reporter interface {
	Helper()
	Fatal(args ...any)
}

// New starts an API that ends with the test.
func New(t testing.TB) *Fixture {
	t.Helper()
	store := coretest.NewStore()
	st := state.New(store)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := st.Run(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("state: %v", err)
		}
	})
	t.Cleanup(func() { cancel(); running.Wait() })
	secret, public, err := audit.NewKey("test/n1")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := note.NewSigner(secret)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := audit.Verifiers(public)
	if err != nil {
		t.Fatal(err)
	}
	f := &Fixture{Store: store, State: st, Ops: &Operations{}, Trust: audit.Trust{Keys: keys}}
	handler := api.New(api.Config{
		State: st, Store: store, Operations: f.Ops, Logs: logSource{}, Signers: []note.Signer{signer}, Keys: []string{public},
		Leader: func() string { return "n1" }, Node: "n1", Version: Version, Origin: "test/0000000000000000/1",
	})
	// As over a unix socket: an administrator, unless a token is shown.
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx := identity.WithCaller(r.Context(), identity.Caller{Principal: "local:test", Role: core.AccessAdmin})
		handler.ServeHTTP(w, r.WithContext(ctx))
	}))
	t.Cleanup(server.Close)
	f.URL = server.URL
	if f.Client, err = client.New(server.URL); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	return f
}

// Put stores objects as control and agents would.
func (f *Fixture) Put(t Reporter, fn func(tx *state.Tx)) {
	t.Helper()
	meta := core.Meta{Principal: "controller", Verb: "test.put"}
	if _, err := f.State.Update(context.Background(), meta, func(tx *state.Tx) error { fn(tx); return nil }); err != nil {
		t.Fatal(err)
	}
}

// Shop stores a service in the middle of its second rollout.
func (f *Fixture) Shop(t Reporter) {
	t.Helper()
	started := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	f.Put(t, func(tx *state.Tx) {
		state.Services.Put(tx, "shop", core.Service{Format: 1, Name: "shop", Count: 2, Revision: 2, Active: 1, Revisions: 2, Rollouts: 2})
		for n := 1; n <= 2; n++ {
			spec := core.Spec{Env: map[string]string{"BANNER": strings.Repeat("x", n)}, Compute: core.Compute{Driver: "process"}}
			state.Revisions.Put(tx, core.RevisionID("shop", n), core.Revision{Format: 1, Service: "shop", Number: n, Spec: spec})
			state.Rollouts.Put(tx, core.RolloutID("shop", n), core.Rollout{
				Format: 1, Service: "shop", Number: n, Kind: core.RolloutDeploy, From: n - 1, To: n, Started: started,
				Phase: map[int]core.RolloutPhase{1: core.RolloutSucceeded, 2: core.RolloutVerifying}[n],
			})
		}
		for id, revision := range map[string]int{"shop-a": 1, "shop-b": 1, "shop-c": 2, "shop-d": 2} {
			state.Instances.Put(tx, id, core.Instance{Format: 1, ID: id, Service: "shop", Revision: revision, Node: "n1", Desired: core.DesiredRun})
			status := core.InstanceStatus{Format: 1, ID: id, Service: "shop", Node: "n1", Phase: core.InstanceRunning, Healthy: id != "shop-d"}
			if id == "shop-d" {
				status.Unhealthy = "GET /healthz: 503 Service Unavailable"
			}
			state.InstanceStatuses.Put(tx, id, status)
		}
		state.Routes.Put(tx, "shop", core.Route{Format: 1, Name: "shop", Service: "shop", Generation: 7, Spec: core.RouteSpec{Name: "shop", Driver: "proxy"}})
		state.RouteStatuses.Put(tx, "shop@n1/local", core.RouteStatus{Format: 1, Route: "shop", Node: "n1", Target: "local", Generation: 6})
		state.Nodes.Put(tx, "n1", core.Node{Format: 1, Name: "n1", Targets: []core.Target{{Kind: core.DriverTraffic, Driver: "proxy", Name: "local", Healthy: true}}})
	})
}

// Operations records what it is asked and answers what it is told.
type Operations struct {
	mu      sync.Mutex
	calls   []string
	metas   []core.Meta
	err     error
	applied *core.Applied
	plan    *core.Plan
}

// Fail makes every call fail with err; nil lets them pass again.
func (o *Operations) Fail(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.err = err
}

// Answer sets what plans and writes are answered with; nil keeps the default.
func (o *Operations) Answer(plan *core.Plan, applied *core.Applied) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.plan, o.applied = plan, applied
}

// Calls tells what was asked, and with which meta.
func (o *Operations) Calls() ([]string, []core.Meta) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.calls), slices.Clone(o.metas)
}

func (o *Operations) call(name string, meta core.Meta) (core.Applied, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.calls, o.metas = append(o.calls, name), append(o.metas, meta)
	if o.applied != nil {
		return *o.applied, o.err
	}
	return core.Applied{Receipt: core.Receipt{Origin: "o", Seq: 5}, Rollouts: []string{"shop/3"}}, o.err
}

// Plan implements api.Operations.
func (o *Operations) Plan(context.Context, core.Set) (core.Plan, error) {
	_, err := o.call("plan", core.Meta{})
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.plan != nil {
		return *o.plan, err
	}
	return core.Plan{Services: []core.ServicePlan{{Service: "shop", Action: core.ActionUpdate}}}, err
}

// Apply implements api.Operations.
func (o *Operations) Apply(_ context.Context, m core.Meta, _ core.Set, _ map[string]uint64) (core.Applied, error) {
	return o.call("apply", m)
}

// Rollback implements api.Operations.
func (o *Operations) Rollback(_ context.Context, m core.Meta, service string, _ int) (core.Applied, error) {
	return o.call("rollback "+service, m)
}

// Scale implements api.Operations.
func (o *Operations) Scale(_ context.Context, m core.Meta, service string, _ int) (core.Applied, error) {
	return o.call("scale "+service, m)
}

// Delete implements api.Operations.
func (o *Operations) Delete(_ context.Context, m core.Meta, service string) (core.Applied, error) {
	return o.call("delete "+service, m)
}

// Abort implements api.Operations.
func (o *Operations) Abort(_ context.Context, m core.Meta, rollout string) (core.Applied, error) {
	return o.call("abort "+rollout, m)
}

// ReplaceInstance implements api.Operations.
func (o *Operations) ReplaceInstance(_ context.Context, m core.Meta, instance string) (core.Applied, error) {
	return o.call("replace "+instance, m)
}

// DrainNode implements api.Operations.
func (o *Operations) DrainNode(_ context.Context, m core.Meta, node string, undo bool) (core.Applied, error) {
	if undo {
		return o.call("undrain "+node, m)
	}
	return o.call("drain "+node, m)
}

// logSource has three lines for shop-a and fails for every other instance.
type logSource struct{}

func (logSource) Logs(ctx context.Context, instance string, follow bool, _ int, line func(core.LogLine) error) error {
	if instance != "shop-a" {
		return core.Errorf(core.CodeUnavailable, "the driver of %s is away", instance)
	}
	for _, text := range []string{"one", "two", "three"} {
		if err := line(core.LogLine{Stream: "stdout", Text: text}); err != nil {
			return err
		}
	}
	if follow {
		<-ctx.Done()
	}
	return nil
}
