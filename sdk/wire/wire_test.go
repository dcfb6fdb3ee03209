package wire_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/zclconf/go-cty/cty"
	"pgregory.net/rapid"

	"github.com/instarhq/instar/sdk"
	"github.com/instarhq/instar/sdk/sdktest"
)

// echo is a driver whose calls do what the test wants.
type echo struct {
	*sdktest.NoopCompute
	create  func(context.Context, sdk.InstanceSpec) (sdk.Instance, error)
	inspect func(context.Context, string) (sdk.Instance, error)
	watch   func(context.Context, func(sdk.Instance) error) error
	logs    func(func(sdk.LogLine) error) error
	schema  sdk.Schema
}

func (e *echo) Describe(context.Context) (sdk.Description, error) {
	return sdk.Description{
		Name: "echo", Version: "1.2.3", Kind: sdk.KindCompute, Scope: sdk.ScopeCluster, Doc: "d",
		Capabilities: []sdk.Capability{sdk.CapLogs, "new"}, Workload: e.schema,
	}, nil
}

func (e *echo) Create(ctx context.Context, s sdk.InstanceSpec) (sdk.Instance, error) {
	return e.create(ctx, s)
}

func (e *echo) Inspect(ctx context.Context, id string) (sdk.Instance, error) {
	return e.inspect(ctx, id)
}

func (e *echo) Watch(ctx context.Context, event func(sdk.Instance) error) error {
	return e.watch(ctx, event)
}

func (e *echo) Logs(_ context.Context, _ string, _ sdk.LogOptions, line func(sdk.LogLine) error) error {
	return e.logs(line)
}

func serve(t *testing.T, e *echo) sdk.Compute {
	t.Helper()
	e.NoopCompute = sdktest.NewNoopCompute(nil)
	return sdktest.ServeCompute(t, e)
}

func TestErrorsSurviveTheWire(t *testing.T) {
	var fail error
	client := serve(t, &echo{inspect: func(context.Context, string) (sdk.Instance, error) { return sdk.Instance{}, fail }})
	for _, c := range []struct {
		err  error
		want sdk.Error
	}{
		{sdk.NotFound("no %q", "x"), sdk.Error{Code: sdk.CodeNotFound, Message: `no "x"`}},
		{sdk.Conflict("busy"), sdk.Error{Code: sdk.CodeConflict, Message: "busy"}},
		{sdk.Unsupported("never"), sdk.Error{Code: sdk.CodeUnsupported, Message: "never"}},
		{sdk.Unavailable(1500*time.Millisecond, "later"), sdk.Error{Code: sdk.CodeUnavailable, Message: "later", RetryAfter: 1500 * time.Millisecond}},
		{sdk.InvalidConfig("a.b[0]", "wrong"), sdk.Error{Code: sdk.CodeInvalidConfig, Message: "wrong", Attribute: "a.b[0]"}},
		{errors.New("plain"), sdk.Error{Code: sdk.CodeInternal, Message: "plain"}},
		{fmt.Errorf("while x: %w", sdk.InvalidConfig("a", "wrong")), sdk.Error{Code: sdk.CodeInvalidConfig, Message: "while x: wrong", Attribute: "a"}},
		{errors.New("bad \xff byte"), sdk.Error{Code: sdk.CodeInternal, Message: "bad \uFFFD byte"}},
		{context.DeadlineExceeded, sdk.Error{Code: sdk.CodeInternal, Message: "context deadline exceeded"}},
	} {
		fail = c.err
		_, err := client.Inspect(t.Context(), "web-1")
		var got *sdk.Error
		if !errors.As(err, &got) || *got != c.want {
			t.Errorf("%v became %+v, want %+v", c.err, got, c.want)
		}
	}
	fail = errors.New(strings.Repeat("é", 1<<20))
	if _, err := client.Inspect(t.Context(), "web-1"); sdk.CodeOf(err) != sdk.CodeInternal || len(err.Error()) > 5<<10 {
		t.Errorf("an endless error: %d bytes, code %q", len(err.Error()), sdk.CodeOf(err))
	}
}

func TestContextsReachTheDriver(t *testing.T) {
	began, ended := make(chan time.Time, 1), make(chan error, 1)
	client := serve(t, &echo{inspect: func(ctx context.Context, _ string) (sdk.Instance, error) {
		deadline, _ := ctx.Deadline()
		began <- deadline
		<-ctx.Done()
		ended <- ctx.Err()
		return sdk.Instance{}, ctx.Err()
	}})
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	go func() {
		if left := time.Until(<-began); left < 59*time.Minute || left > time.Hour {
			t.Errorf("the deadline arrived as %s from now", left)
		}
		cancel()
	}()
	if _, err := client.Inspect(ctx, "web-1"); !errors.Is(err, context.Canceled) {
		t.Errorf("the cancelled call returned %v", err)
	}
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("the driver saw %v", err)
	}

	ctx, cancel = context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := client.Inspect(ctx, "web-1"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the late call returned %v", err)
	}
}

func TestPanicEndsOneCall(t *testing.T) {
	client := serve(t, &echo{
		inspect: func(context.Context, string) (sdk.Instance, error) { panic("in a call") },
		watch:   func(context.Context, func(sdk.Instance) error) error { panic("in a stream") },
	})
	_, err := client.Inspect(t.Context(), "web-1")
	if sdk.CodeOf(err) != sdk.CodeInternal || !strings.Contains(err.Error(), "in a call") {
		t.Errorf("call: %v", err)
	}
	err = client.Watch(t.Context(), func(sdk.Instance) error { return nil })
	if sdk.CodeOf(err) != sdk.CodeInternal || !strings.Contains(err.Error(), "in a stream") {
		t.Errorf("stream: %v", err)
	}
	if _, err := client.Describe(t.Context()); err != nil {
		t.Errorf("the call after the panics: %v", err)
	}
}

func TestCallbackErrorEndsTheStream(t *testing.T) {
	ended := make(chan error, 1)
	client := serve(t, &echo{watch: func(ctx context.Context, event func(sdk.Instance) error) error {
		for {
			if err := event(sdk.Instance{ID: "web-1"}); err != nil {
				ended <- ctx.Err()
				return err
			}
		}
	}})
	enough := errors.New("enough")
	if err := client.Watch(t.Context(), func(sdk.Instance) error { return enough }); !errors.Is(err, enough) {
		t.Errorf("got %v, want the callback's own error", err)
	}
	if err := <-ended; err == nil {
		t.Error("the driver's context did not end")
	}
}

func TestLargeMessages(t *testing.T) {
	big := strings.Repeat("x", 5<<20)
	client := serve(t, &echo{create: func(_ context.Context, s sdk.InstanceSpec) (sdk.Instance, error) {
		return sdk.Instance{ID: s.ID, Fingerprint: string(s.Mounts[0].Data) + s.Env["BIG"]}, nil
	}})
	i, err := client.Create(t.Context(), sdk.InstanceSpec{
		ID: "web-1", Mounts: []sdk.Mount{{Path: "a", Data: []byte(big)}}, Env: map[string]string{"BIG": big},
	})
	if err != nil || i.Fingerprint != big+big {
		t.Errorf("%d bytes came back, %v", len(i.Fingerprint), err)
	}
}

func TestLogsOfAnyBytes(t *testing.T) {
	client := serve(t, &echo{logs: func(line func(sdk.LogLine) error) error {
		return line(sdk.LogLine{Stream: "stdout", Text: "\xff\xfe ok"})
	}})
	var got []sdk.LogLine
	err := client.Logs(t.Context(), "web-1", sdk.LogOptions{}, func(l sdk.LogLine) error {
		got = append(got, l)
		return nil
	})
	if err != nil || len(got) != 1 || got[0].Text != "\uFFFD ok" || !got[0].Time.IsZero() {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestDescriptionSurvivesTheWire(t *testing.T) {
	schema := sdk.Schema{
		{Name: "list", Type: cty.List(cty.String), Default: cty.ListVal([]cty.Value{cty.StringVal("a")}), Doc: "l"},
		{Name: "object", Type: cty.ObjectWithOptionalAttrs(map[string]cty.Type{"n": cty.Number, "s": cty.Set(cty.Bool)}, []string{"s"}), Required: true, Sensitive: true, Doc: "o"},
		{Name: "map", Type: cty.Map(cty.Map(cty.Number)), Default: cty.NullVal(cty.Map(cty.Map(cty.Number))), Doc: "m"},
	}
	e := &echo{schema: schema}
	client := serve(t, e)
	d, err := client.Describe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if d.Name != "echo" || d.Version != "1.2.3" || d.Scope != sdk.ScopeCluster || len(d.Capabilities) != 2 || d.Capabilities[1] != "new" {
		t.Errorf("got %+v", d)
	}
	for n, want := range schema {
		got := d.Workload[n]
		if got.Name != want.Name || !got.Type.Equals(want.Type) || got.Required != want.Required || got.Sensitive != want.Sensitive || got.Doc != want.Doc {
			t.Errorf("attribute is %+v, want %+v", got, want)
		}
		if (got.Default == cty.NilVal) != (want.Default == cty.NilVal) || (want.Default != cty.NilVal && !got.Default.RawEquals(want.Default)) {
			t.Errorf("default of %s is %#v, want %#v", want.Name, got.Default, want.Default)
		}
	}
	e.schema = sdk.Schema{{Name: "broken", Type: cty.NilType, Doc: "b"}}
	if _, err := client.Describe(t.Context()); sdk.CodeOf(err) != sdk.CodeInternal || !strings.Contains(err.Error(), "broken") {
		t.Errorf("a broken schema: %v", err)
	}
}

// Everything that a spec and an instance can hold comes back as it was.
func TestInstanceRoundTrip(t *testing.T) {
	var spec sdk.InstanceSpec
	var instance sdk.Instance
	client := serve(t, &echo{create: func(_ context.Context, s sdk.InstanceSpec) (sdk.Instance, error) {
		spec = s
		return instance, nil
	}})
	name := rapid.String()
	rapid.Check(t, func(t *rapid.T) {
		wantSpec := sdk.InstanceSpec{
			ID: name.Draw(t, "id"), Cluster: name.Draw(t, "cluster"), Generation: rapid.Uint64().Draw(t, "generation"),
			Service: name.Draw(t, "service"), Revision: rapid.Int().Draw(t, "revision"), RevisionDigest: name.Draw(t, "digest"),
			Artifact: sdk.Artifact{Source: name.Draw(t, "source"), Checksum: name.Draw(t, "checksum"), Digest: name.Draw(t, "pinned")},
			Config:   json.RawMessage(`{"a":1}`), Grace: time.Duration(rapid.Int64().Draw(t, "grace")),
			Resources: sdk.Resources{CPU: rapid.Int64().Draw(t, "cpu"), Memory: rapid.Int64().Draw(t, "memory")},
			Env:       nonEmpty(rapid.MapOf(name, name).Draw(t, "env")),
			Ports:     []sdk.Port{{Name: name.Draw(t, "port"), Number: rapid.IntRange(0, 65535).Draw(t, "number")}},
			Mounts: []sdk.Mount{{
				Path: name.Draw(t, "path"), Data: rapid.SliceOfN(rapid.Byte(), 1, 9).Draw(t, "data"), Mode: rapid.Uint32().Draw(t, "mode"),
			}},
		}
		instance = sdk.Instance{
			ID: name.Draw(t, "id2"), Cluster: wantSpec.Cluster, Generation: wantSpec.Generation, Service: wantSpec.Service,
			Revision: wantSpec.Revision, RevisionDigest: wantSpec.RevisionDigest,
			State:     rapid.SampledFrom([]sdk.InstanceState{sdk.StateCreating, sdk.StateRunning, sdk.StateExited, sdk.StateDestroyed}).Draw(t, "state"),
			Addresses: nonEmpty(rapid.MapOf(name, name).Draw(t, "addresses")), Fingerprint: name.Draw(t, "fingerprint"),
			Created: time.Unix(rapid.Int64Range(0, 1<<33).Draw(t, "created"), 5).UTC(),
		}
		if rapid.Bool().Draw(t, "exited") {
			instance.Exit = &sdk.Exit{Code: -1, Signal: name.Draw(t, "signal"), OOM: true, Message: name.Draw(t, "message")}
		}
		want := instance
		got, err := client.Create(context.Background(), wantSpec)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(spec, wantSpec) {
			t.Fatalf("the spec arrived as\n%+v, want\n%+v", spec, wantSpec)
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("the instance arrived as\n%+v, want\n%+v", got, want)
		}
	})
}

// nonEmpty makes an empty map nil, as it comes from the wire.
func nonEmpty(m map[string]string) map[string]string {
	if len(m) == 0 {
		return nil
	}
	return m
}
