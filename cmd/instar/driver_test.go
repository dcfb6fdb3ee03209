package main

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/state"
	"github.com/instarhq/instar/sdk"
	"github.com/instarhq/instar/sdk/sdktest"
	"github.com/instarhq/instar/sdk/serve"
)

// testDriver is a driver that is what its environment says. The scripts' drivers are shell scripts that execute it:
// small files of different digests, and a proof that a driver may be written in any language.
func testDriver() {
	name, kind, version := os.Getenv("TEST_NAME"), os.Getenv("TEST_KIND"), os.Getenv("TEST_VERSION")
	switch sdk.Kind(kind) {
	case sdk.KindTraffic:
		serve.Run(&trafficDriver{NoopTraffic: sdktest.NewNoopTraffic(nil), name: name, version: version})
	case sdk.KindMetrics:
		serve.Run(&sdktest.NoopMetrics{})
	default:
		d := &computeDriver{NoopCompute: sdktest.NewNoopCompute(nil), name: name, kind: kind, version: version}
		if backend := os.Getenv("TEST_BACKEND"); backend != "" {
			serve.Run(&remoteDriver{computeDriver: d, backend: backend})
			return
		}
		serve.Run(d)
	}
}

type computeDriver struct {
	*sdktest.NoopCompute
	name, kind, version string
}

func (d *computeDriver) Describe(ctx context.Context) (sdk.Description, error) {
	desc, err := d.NoopCompute.Describe(ctx)
	desc.Name, desc.Kind, desc.Version = d.name, sdk.Kind(d.kind), d.version
	return desc, err
}

type trafficDriver struct {
	*sdktest.NoopTraffic
	name, version string
}

func (d *trafficDriver) Describe(ctx context.Context) (sdk.Description, error) {
	desc, err := d.NoopTraffic.Describe(ctx)
	desc.Name, desc.Version = d.name, d.version
	return desc, err
}

// uses KIND NAME [INSTANCE] makes node n1 publish a driver with the target "local", and an instance on it;
// uses nothing takes all of it away.
func cmdUses(ts *testscript.TestScript, _ bool, args []string) {
	fixture(ts).Put(scriptT{ts}, func(tx *state.Tx) {
		if args[0] == "nothing" {
			state.Nodes.Put(tx, "n1", core.Node{Format: 1, Name: "n1"})
			state.Instances.Delete(tx, "used-a")
			return
		}
		kind, name := core.DriverKind(args[0]), args[1]
		target := core.Target{Kind: kind, Driver: name, Name: "local", Healthy: true}
		state.Nodes.Put(tx, "n1", core.Node{Format: 1, Name: "n1", Targets: []core.Target{target}})
		state.Drivers.Put(tx, core.DriverID("n1", kind, name), core.Driver{Format: 1, Name: name, Kind: kind, Version: "7.7.7", Protocol: 1, Node: "n1"})
		if len(args) > 2 {
			state.Instances.Put(tx, "used-a", core.Instance{Format: 1, ID: "used-a", Service: "used", Revision: 1, Node: "n1", Driver: name, Target: "local", Desired: core.DesiredRun})
		}
	})
}

// serve DIR hands out the files of a directory over HTTP, where URL says.
func cmdServe(ts *testscript.TestScript, _ bool, args []string) {
	server := httptest.NewServer(http.FileServer(http.Dir(ts.MkAbs(args[0]))))
	ts.Value(testKey{}).(*testing.T).Cleanup(server.Close)
	ts.Setenv("URL", server.URL)
}
