package process_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/instarhq/instar/plugins/compute/process"
	"github.com/instarhq/instar/sdk"
	"github.com/instarhq/instar/sdk/sdktest"
)

func TestConformance(t *testing.T) {
	sdktest.Compute(t, func(t sdktest.T) sdktest.ComputeFixture {
		return fixture(t, func(_ sdktest.T, d *process.Driver) sdk.Compute { return d })
	})
}

func TestConformanceOverGRPC(t *testing.T) {
	sdktest.Compute(t, func(t sdktest.T) sdktest.ComputeFixture {
		return fixture(t, func(t sdktest.T, d *process.Driver) sdk.Compute { return sdktest.ServeCompute(t, d) })
	})
}

// fixture is a driver with a state directory of its own, as the suite sees it through wrap.
func fixture(t sdktest.T, wrap func(sdktest.T, *process.Driver) sdk.Compute) sdktest.ComputeFixture {
	req := sdk.ConfigureRequest{Target: "local", Node: "n1", Cluster: "conformance", Generation: 2, StateDir: t.TempDir()}
	var current *process.Driver
	open := func(t sdktest.T) sdk.Compute {
		if current != nil {
			if err := current.Close(context.Background()); err != nil {
				t.Fatalf("Close: %v", err)
			}
		}
		current = process.New()
		d := wrap(t, current)
		if err := d.Configure(context.Background(), req); err != nil {
			t.Fatalf("Configure: %v", err)
		}
		return d
	}
	driver := open(t)
	t.Cleanup(func() {
		if err := current.Close(context.Background()); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	source := filepath.Join(t.TempDir(), "artifact")
	if err := os.Mkdir(source, 0o755); err != nil {
		t.Fatalf("%v", err)
	}
	script := "#!/bin/sh\nexec sleep 3600\n"
	if err := os.WriteFile(filepath.Join(source, "run"), []byte(script), 0o755); err != nil {
		t.Fatalf("%v", err)
	}
	return sdktest.ComputeFixture{
		Driver: driver, Configure: req, Reopen: open, Mounts: true,
		Artifact: sdk.Artifact{Source: source},
		Gone:     sdk.Artifact{Source: filepath.Join(source, "no-such-thing")},
		Config:   json.RawMessage(`{"command": ["./run"]}`),
		Exits:    json.RawMessage(`{"command": ["/bin/sh", "-c", "exit 3"]}`),
		Talks: json.RawMessage(`{"command": ["/bin/sh", "-c",
			"for n in 1 2 3 4 5; do echo out $n; done; echo err 1 >&2; exec sleep 3600"]}`),
		Ports: []sdk.Port{{Name: "http"}, {Name: "admin-api"}},
	}
}
