package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/api"
	"github.com/instarhq/instar/core/api/apitest"
	"github.com/instarhq/instar/core/api/client"
	"github.com/instarhq/instar/core/audit"
	"github.com/instarhq/instar/core/state"
)

func TestStatusAndProgress(t *testing.T) {
	f := apitest.New(t)
	f.Shop(t)
	status, err := f.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(status.Services) != 1 || status.Leader != "n1" || status.Version != apitest.Version {
		t.Fatalf("status %+v", status)
	}
	svc := status.Services[0]
	if svc.Running != 2 || svc.Healthy != 2 || svc.Rollout == nil {
		t.Fatalf("service %+v", svc)
	}
	p := svc.Rollout.Progress
	if p.Wanted != 2 || p.Created != 2 || p.Healthy != 1 || p.Warm != 2 || len(p.Troubles) != 1 || p.Troubles[0].Instance != "shop-d" {
		t.Errorf("progress %+v", p)
	}
	if len(p.Pending) != 1 || p.Pending[0] != "n1/local" || len(p.Confirmed) != 0 {
		t.Errorf("generation 7 is wanted, 6 is applied, but pending %v, confirmed %v", p.Pending, p.Confirmed)
	}
}

func TestFetchesAreSeen(t *testing.T) {
	f := apitest.New(t)
	f.Shop(t)
	f.Put(t, func(tx *state.Tx) {
		for i, node := range []string{"n2", "n1"} {
			id := fmt.Sprintf("shop-%d", i)
			state.Instances.Put(tx, id, core.Instance{
				Format: 1, ID: id, Service: "shop", Revision: 2, Node: node, Target: "local", Desired: core.DesiredRun,
			})
			state.InstanceStatuses.Put(tx, id, core.InstanceStatus{
				Format: 1, ID: id, Service: "shop", Node: node, Phase: core.InstanceCreating, Fetch: &core.Fetch{Done: 5, Total: int64(10 + i)},
			})
		}
	})
	r, err := f.Rollout(t.Context(), "shop/2")
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.Marshal(r.Progress.Fetches)
	if err != nil {
		t.Fatal(err)
	}
	if want := `[{"node":"n1","target":"local","done":5,"total":11},{"node":"n2","target":"local","done":5,"total":10}]`; string(got) != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestListsPage(t *testing.T) {
	f := apitest.New(t)
	f.Shop(t)
	var ids []string
	list := client.List{Limit: 3, Service: "shop"}
	for range 3 {
		p, err := f.Instances(t.Context(), list)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range p.Items {
			ids = append(ids, i.Instance.ID)
		}
		if list.Cursor = p.Next; p.Next == "" {
			break
		}
	}
	if got := strings.Join(ids, " "); got != "shop-a shop-b shop-c shop-d" {
		t.Errorf("instances %s", got)
	}
	only, err := f.Instances(t.Context(), client.List{Revision: 2})
	if err != nil || len(only.Items) != 2 {
		t.Errorf("revision 2 has %d instances, %v", len(only.Items), err)
	}
}

func TestReadsAsOf(t *testing.T) {
	f := apitest.New(t)
	f.Shop(t)
	before := f.Store.Seq()
	f.Put(t, func(tx *state.Tx) {
		svc, _ := state.Services.Get(tx, "shop")
		svc.Count = 9
		state.Services.Put(tx, "shop", svc)
	})
	now, err := f.Service(t.Context(), "shop", 0)
	if err != nil || now.Service.Count != 9 {
		t.Fatalf("now %+v, %v", now.Service, err)
	}
	then, err := f.Service(t.Context(), "shop", before)
	if err != nil || then.Service.Count != 2 {
		t.Fatalf("as of %d %+v, %v", before, then.Service, err)
	}
	if d, err := f.Diff(t.Context(), "shop", 0, 0); err != nil || len(d.Changes) != 1 || d.Changes[0].Path != "env.BANNER" {
		t.Errorf("diff %+v, %v", d, err)
	}
}

func TestWritesCarryWhoAndWhy(t *testing.T) {
	f := apitest.New(t)
	ctx, w := t.Context(), client.Write{Reason: "because"}
	calls := map[string]func() (core.Applied, error){
		"apply":          func() (core.Applied, error) { return f.Apply(ctx, w, core.Set{Services: []core.Declared{}}, nil) },
		"rollback shop":  func() (core.Applied, error) { return f.Rollback(ctx, w, "shop", 1) },
		"scale shop":     func() (core.Applied, error) { return f.Scale(ctx, w, "shop", 3) },
		"delete shop":    func() (core.Applied, error) { return f.DeleteService(ctx, w, "shop") },
		"abort shop/3":   func() (core.Applied, error) { return f.Abort(ctx, w, "shop/3") },
		"drain n2":       func() (core.Applied, error) { return f.DrainNode(ctx, w, "n2") },
		"undrain n2":     func() (core.Applied, error) { return f.UndrainNode(ctx, w, "n2") },
		"replace shop-a": func() (core.Applied, error) { return f.ReplaceInstance(ctx, w, "shop-a") },
	}
	for name, do := range calls {
		a, err := do()
		if err != nil || a.Receipt.Seq != 5 {
			t.Fatalf("%s: %+v, %v", name, a, err)
		}
		calls, metas := f.Ops.Calls()
		last := len(calls) - 1
		if calls[last] != name {
			t.Errorf("%s called %s", name, calls[last])
		}
		if m := metas[last]; m.Principal != "local:test" || m.Reason != "because" || m.RequestID == "" || m.Verb == "" {
			t.Errorf("%s: meta %+v", name, m)
		}
	}
}

func TestErrorsCrossTheWire(t *testing.T) {
	f := apitest.New(t)
	for code, status := range map[core.Code]int{
		core.CodeInvalid: 422, core.CodeNotFound: 404, core.CodeConflict: 409, core.CodeTooLarge: 413, core.CodeDenied: 403,
		core.CodeUnsupported: 501, core.CodeCorrupt: 500, core.CodeInternal: 500,
	} {
		f.Ops.Fail(core.Errorf(code, "no %s", code).WithObject(core.KindService, "shop").WithHint("do something"))
		_, err := f.Scale(t.Context(), client.Write{}, "shop", 1)
		e, ok := core.AsError(err)
		if !ok || e.Code != code || e.Object != "service/shop" || e.Hint != "do something" || e.Message != "no "+string(code) {
			t.Errorf("%s arrives as %+v", code, err)
		}
		resp, err := http.Post(f.URL+"/v1/services/shop/scale", "application/json", strings.NewReader(`{"count":1}`))
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != status || resp.Header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: %d %s", code, resp.StatusCode, resp.Header.Get("Content-Type"))
		}
	}
	f.Ops.Fail(errors.New("secret detail"))
	if _, err := f.Scale(t.Context(), client.Write{}, "shop", 1); core.CodeOf(err) != core.CodeInternal || strings.Contains(err.Error(), "secret") {
		t.Errorf("an internal error arrives as %v", err)
	}
}

// A retryable refusal is repeated with the same request id until it passes.
func TestClientRepeats(t *testing.T) {
	f := apitest.New(t)
	f.Ops.Fail(core.Errorf(core.CodeUnavailable, "no leader"))
	time.AfterFunc(250*time.Millisecond, func() { f.Ops.Fail(nil) })
	if _, err := f.Scale(t.Context(), client.Write{}, "shop", 1); err != nil {
		t.Fatal(err)
	}
	ids := map[string]bool{}
	_, metas := f.Ops.Calls()
	for _, m := range metas {
		ids[m.RequestID] = true
	}
	if len(metas) < 2 || len(ids) != 1 {
		t.Errorf("%d tries with %d request ids", len(metas), len(ids))
	}
}

func TestHostileRequests(t *testing.T) {
	f := apitest.New(t)
	for name, c := range map[string]struct {
		method, path, body string
		want               int
	}{
		"no json":         {"POST", "/v1/apply", "{", 400},
		"unknown field":   {"POST", "/v1/services/shop/scale", `{"count":1,"sudo":true}`, 422},
		"wrong type":      {"POST", "/v1/services/shop/scale", `{"count":"many"}`, 422},
		"out of bounds":   {"POST", "/v1/services/shop/scale", `{"count":-1}`, 422},
		"unknown query":   {"GET", "/v1/services?nonsense=1", "", 422},
		"huge limit":      {"GET", "/v1/services?limit=100000", "", 422},
		"no such path":    {"GET", "/v1/nothing", "", 404},
		"too large":       {"POST", "/v1/plan", `{"set":{"services":[],"configs":[],"x":"` + strings.Repeat("a", 9<<20) + `"}}`, 413},
		"not an instance": {"GET", "/v1/instances/nope/logs", "", 404},
	} {
		t.Run(name, func(t *testing.T) {
			req, err := http.NewRequestWithContext(t.Context(), c.method, f.URL+c.path, strings.NewReader(c.body))
			if err != nil {
				t.Fatal(err)
			}
			if c.body != "" {
				req.Header.Set("Content-Type", "application/json")
			}
			req.Close = true // what is left of a refused body must not meet the next request
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = resp.Body.Close() }()
			body, _ := io.ReadAll(resp.Body)
			if resp.StatusCode != c.want {
				t.Errorf("%d, want %d: %s", resp.StatusCode, c.want, body)
			}
		})
	}
	if calls, _ := f.Ops.Calls(); len(calls) != 0 {
		t.Errorf("bad requests reached the operations: %v", calls)
	}
}

func TestLogs(t *testing.T) {
	f := apitest.New(t)
	f.Shop(t)
	var lines []string
	for line, err := range f.Logs(t.Context(), "shop-a", false, 0) {
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, line.Text)
	}
	if got := strings.Join(lines, " "); got != "one two three" {
		t.Errorf("logs %q", got)
	}
	for _, err := range f.Logs(t.Context(), "shop-a", true, 0) {
		if err != nil {
			t.Fatal(err)
		}
		break // a reader that has enough ends a stream that would go on
	}
	for _, err := range f.Logs(t.Context(), "shop-b", false, 0) {
		if core.CodeOf(err) != core.CodeUnavailable || !strings.Contains(err.Error(), "away") {
			t.Errorf("logs of a lost driver: %v", err)
		}
	}
}

func TestAudit(t *testing.T) {
	f := apitest.New(t)
	f.Shop(t)
	f.Put(t, func(tx *state.Tx) { state.Services.Delete(tx, "shop") })
	p, err := f.Records(t.Context(), client.Records{Object: "service/shop", Limit: 1})
	if err != nil || len(p.Items) != 1 || p.Items[0].Seq != 2 || p.Next == "" {
		t.Fatalf("page %+v, %v", p, err)
	}
	if p, err = f.Records(t.Context(), client.Records{Principal: "nobody"}); err != nil || len(p.Items) != 0 {
		t.Errorf("records of nobody: %+v, %v", p.Items, err)
	}
	r, err := f.Record(t.Context(), 1)
	if err != nil || audit.LeafHash(r.Raw) != r.LeafHash || len(r.Txn.Ops) == 0 {
		t.Errorf("record %+v, %v", r.Seq, err)
	}
	proof, err := f.Prove(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := proof.Verify(f.Trust); err != nil {
		t.Errorf("proof: %v", err)
	}
	body, err := f.Export(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = body.Close() }()
	if report, err := audit.VerifyExport(body, f.Trust); err != nil || report.Records != 2 || !report.Signed {
		t.Errorf("export %+v, %v", report, err)
	}
	head, err := f.Head(t.Context(), 1)
	if err != nil || head.Size != 1 {
		t.Errorf("head %+v, %v", head, err)
	}
	consistency, err := f.ConsistencyProof(t.Context(), 1, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := audit.VerifyConsistency(head, consistency.Head, consistency.Hashes); err != nil {
		t.Errorf("consistency: %v", err)
	}
	if c, err := f.Checkpoint(t.Context()); err != nil || len(c.Keys) != 1 || !strings.Contains(c.Note, "test/n1") {
		t.Errorf("checkpoint %+v, %v", c, err)
	}
}

func TestWatchResumes(t *testing.T) {
	f := apitest.New(t)
	f.Shop(t)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var services []uint64
	watch := client.Watch{FromStart: true, Kinds: []core.Kind{core.KindService}}
	for e, err := range f.Watch(ctx, watch) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Kind == "" {
			continue
		}
		services = append(services, e.Seq)
		var svc core.Service
		if err := json.Unmarshal(e.Object, &svc); err != nil || svc.Name != "shop" {
			t.Fatalf("event %+v, %v", e, err)
		}
		if len(services) == 3 {
			break
		}
		f.Put(t, func(tx *state.Tx) { svc.Count++; state.Services.Put(tx, "shop", svc) })
	}
	if len(services) != 3 || services[0] != 1 || services[2] != services[1]+1 {
		t.Errorf("events of records %v", services)
	}
	for e, err := range f.Watch(ctx, client.Watch{After: services[1], Service: "shop"}) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Kind == "" {
			continue
		}
		if e.Seq != services[2] {
			t.Errorf("after %d comes %d", services[1], e.Seq)
		}
		break
	}
}

func TestUnreachable(t *testing.T) {
	for _, address := range []string{"unix:///nowhere/instar.sock", "http://127.0.0.1:1"} {
		c, err := client.New(address)
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.Status(t.Context())
		e, ok := core.AsError(err)
		if !errors.Is(err, client.ErrUnreachable) || !ok || !strings.Contains(e.Error(), address) || e.Hint == "" {
			t.Errorf("%s: %v", address, err)
		}
	}
	for _, address := range []string{"", "ftp://x", "unix://relative", "http://", "http://h/path"} {
		if _, err := client.New(address); core.CodeOf(err) != core.CodeInvalid {
			t.Errorf("%q is taken for an address: %v", address, err)
		}
	}
}

var update = flag.Bool("update", false, "write docs/openapi.json")

// The committed document is the one that the handlers give; go generate writes it anew.
func TestOpenAPIDocument(t *testing.T) {
	compact, err := api.OpenAPI()
	if err != nil {
		t.Fatal(err)
	}
	var want bytes.Buffer
	if err := json.Indent(&want, compact, "", "  "); err != nil {
		t.Fatal(err)
	}
	want.WriteByte('\n')
	path := filepath.Join("..", "..", "docs", "openapi.json")
	if *update {
		if err := os.WriteFile(path, want.Bytes(), 0o644); err != nil { //nolint:gosec // a document for everybody
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(have, want.Bytes()) {
		t.Errorf("%s is not what the handlers give (%v); run: make generate", path, err)
	}
}
