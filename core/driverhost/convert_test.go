package driverhost_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/zclconf/go-cty/cty"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/driverhost"
	"github.com/instarhq/instar/sdk"
)

func TestErrorConversion(t *testing.T) {
	t.Parallel()
	conflict := core.Errorf(core.CodeConflict, "already core's")
	for _, c := range []struct {
		err     error
		code    core.Code
		message string
	}{
		{nil, "", ""},
		{conflict, core.CodeConflict, "already core's"},
		{sdk.NotFound("no such thing"), core.CodeNotFound, "no such thing"},
		{sdk.InvalidConfig("command[0]", "empty"), core.CodeInvalid, "command[0]: empty"},
		{fmt.Errorf("creating: %w", sdk.Conflict("busy")), core.CodeConflict, "creating: busy"},
		{sdk.Unsupported("never"), core.CodeUnsupported, "never"},
		{errors.New("plain"), core.CodeInternal, "plain"},
		{context.DeadlineExceeded, core.CodeTimeout, "the driver did not answer in time: context deadline exceeded"},
		{&sdk.Error{Code: "from the future", Message: "x"}, core.CodeInternal, "x"},
	} {
		got := driverhost.Error(c.err)
		if core.CodeOf(got) != c.code || (got != nil && got.Error() != c.message) || !errors.Is(got, c.err) {
			t.Errorf("%v became %v (%s), want %q (%s)", c.err, got, core.CodeOf(got), c.message, c.code)
		}
	}
	e, ok := core.AsError(driverhost.Error(sdk.Unavailable(3*time.Second, "later")))
	if !ok || e.Code != core.CodeUnavailable || e.RetryAfter != 3*time.Second {
		t.Errorf("unavailable became %+v", e)
	}
	if err := driverhost.Error(context.Canceled); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled became %v", err)
	}
}

func TestDescriptionConversion(t *testing.T) {
	t.Parallel()
	schema := sdk.Schema{
		{Name: "command", Type: cty.List(cty.String), Required: true, Doc: "c"},
		{Name: "limit", Type: cty.Number, Default: cty.NumberIntVal(7), Sensitive: true, Doc: "l"},
	}
	d, err := driverhost.Driver(sdk.Description{
		Name: "x", Version: "1.0.0", Kind: sdk.KindCompute, Scope: sdk.ScopeNode, Doc: "d",
		Capabilities: []sdk.Capability{sdk.CapLogs}, Workload: schema,
	}, 1)
	if err != nil {
		t.Fatal(err)
	}
	want := []core.Attribute{
		{Name: "command", Type: []byte(`["list","string"]`), Required: true, Doc: "c"},
		{Name: "limit", Type: []byte(`"number"`), Default: []byte("7"), Sensitive: true, Doc: "l"},
	}
	if d.Format != core.Format || d.Protocol != 1 || d.Capabilities[0] != "logs" || !reflect.DeepEqual(d.Workload, want) {
		t.Errorf("got %+v, want attributes %+v", d, want)
	}
	back, err := driverhost.Schema(d.Workload)
	if err != nil || !back[0].Type.Equals(schema[0].Type) || !back[1].Default.RawEquals(schema[1].Default) {
		t.Errorf("back as %+v, %v", back, err)
	}
	if _, err := driverhost.Schema([]core.Attribute{{Name: "a", Type: []byte("?")}}); err == nil {
		t.Error("a type that is none is no error")
	}
}

func TestSpecAndRouteConversion(t *testing.T) {
	t.Parallel()
	digest := core.DigestBytes([]byte("conf"))
	revision := core.Revision{Number: 3, Digest: "sha256:r", Spec: core.Spec{
		Artifact:  core.Artifact{Source: "s", Digest: "sha256:a"},
		Compute:   core.Compute{Driver: "process", Config: []byte(`{"command":["x"]}`)},
		Ports:     []core.Port{{Name: "http", Number: 80}},
		Resources: core.Resources{CPU: 100, Memory: 200}, Env: map[string]string{"A": "b"},
		Mounts: []core.Mount{{Config: "site", Digest: digest, Path: "etc/site"}}, Grace: core.Duration(time.Second),
	}}
	instance := core.Instance{ID: "web-1", Service: "web", Revision: 3}
	got, err := driverhost.InstanceSpec("c1", 4, instance, revision, map[core.Digest][]byte{digest: []byte("conf")})
	want := sdk.InstanceSpec{
		ID: "web-1", Cluster: "c1", Generation: 4, Service: "web", Revision: 3, RevisionDigest: "sha256:r",
		Artifact: sdk.Artifact{Source: "s", Digest: "sha256:a"}, Config: []byte(`{"command":["x"]}`),
		Env: map[string]string{"A": "b"}, Ports: []sdk.Port{{Name: "http", Number: 80}},
		Resources: sdk.Resources{CPU: 100, Memory: 200}, Mounts: []sdk.Mount{{Path: "etc/site", Data: []byte("conf")}}, Grace: time.Second,
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
	_, err = driverhost.InstanceSpec("c1", 4, instance, revision, nil)
	if e, ok := core.AsError(err); !ok || e.Code != core.CodeNotFound || e.Object != "config/site@"+string(digest) {
		t.Errorf("without the config: %v", err)
	}

	route := driverhost.Route(core.Route{
		Name: "web", Generation: 5,
		Spec: core.RouteSpec{
			Listen: ":80", Protocol: core.ProtocolHTTP, Host: "h", Path: "/p", Drain: core.Duration(time.Minute),
			TLS: &core.TLS{Certificate: "c", Key: "k"}, Config: []byte(`{}`),
		},
		Pools: []core.Pool{{Revision: 3, Weight: 1, Preview: true, Endpoints: []core.Endpoint{{Instance: "web-1", Address: "a:1"}}}},
	})
	wantRoute := sdk.Route{
		ID: "web", Generation: 5, Listen: ":80", Protocol: sdk.ProtocolHTTP, Host: "h", Path: "/p", Drain: time.Minute,
		TLS: &sdk.TLS{CertificateFile: "c", KeyFile: "k"}, Config: []byte(`{}`),
		Pools: []sdk.Pool{{Revision: 3, Weight: 1, Preview: true, Endpoints: []sdk.Endpoint{{ID: "web-1", Address: "a:1"}}}},
	}
	if !reflect.DeepEqual(route, wantRoute) {
		t.Errorf("got %+v, want %+v", route, wantRoute)
	}
}
