package process_test

import (
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/instarhq/instar/plugins/compute/process"
	"github.com/instarhq/instar/sdk"
	"github.com/instarhq/instar/sdk/sdktest"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	sdktest.Compute(t, func(t sdktest.T) sdktest.ComputeFixture {
		return fixture(t, func(_ sdktest.T, d *process.Driver) sdk.Compute { return d })
	})
}

// The wire does not move the moments at which a call can be interrupted: one of them shows what a cancellation that
// comes over it does, and TestConformance goes through the others.
func TestConformanceOverGRPC(t *testing.T) {
	t.Parallel()
	sdktest.Compute(t, func(t sdktest.T) sdktest.ComputeFixture {
		f := fixture(t, func(t sdktest.T, d *process.Driver) sdk.Compute { return sdktest.ServeCompute(t, d) })
		f.Rounds = 1
		return f
	})
}

// fixture is a driver with a state directory of its own, as the suite sees it through wrap.
func fixture(t sdktest.T, wrap func(sdktest.T, *process.Driver) sdk.Compute) sdktest.ComputeFixture {
	req := sdk.ConfigureRequest{Target: "local", Node: "n1", Cluster: "conformance", Generation: 2, StateDir: t.TempDir()}
	var current *process.Driver
	fresh := func(t sdktest.T) sdk.Compute {
		if current != nil {
			if err := current.Close(context.Background()); err != nil {
				t.Fatalf("Close: %v", err)
			}
		}
		current = process.New()
		return wrap(t, current)
	}
	open := func(t sdktest.T) sdk.Compute {
		d := fresh(t)
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
		Driver: driver, Configure: req, Reopen: open, Unconfigured: fresh, Mounts: true,
		Other:    func(t sdktest.T) (sdk.Compute, sdk.ConfigureRequest) { return neighbour(t, wrap) },
		Holds:    func(t sdktest.T) []string { return processesOf(t, req.StateDir) },
		Harness:  sdktest.Harness{Rounds: 2},
		Artifact: sdk.Artifact{Source: source},
		Gone:     sdk.Artifact{Source: filepath.Join(source, "no-such-thing")},
		Config:   json.RawMessage(`{"command": ["./run"]}`),
		Exits:    json.RawMessage(`{"command": ["/bin/sh", "-c", "exit 3"]}`),
		Talks: json.RawMessage(`{"command": ["/bin/sh", "-c",
			"for n in 1 2 3 4 5; do echo out $n; done; echo err 1 >&2; exec sleep 3600"]}`),
		Fails:    json.RawMessage(`{"command": ["./no-such-program"]}`),
		Stubborn: json.RawMessage(`{"command": ["/bin/sh", "-c", "trap '' TERM; echo stubborn; while :; do sleep 1; done"]}`),
		Shows: json.RawMessage(`{"command": ["/bin/sh", "-c",
			"printf '%s\\n' \"$CONFORMANCE\"; if test -e conformance/data.txt; then cat conformance/data.txt; fi; unset CONFORMANCE; exec sleep 3600"]}`),
		Ports: []sdk.Port{{Name: "http"}, {Name: "admin-api"}},
	}
}

// neighbour is a driver on the same machine for another cluster.
func neighbour(t sdktest.T, wrap func(sdktest.T, *process.Driver) sdk.Compute) (sdk.Compute, sdk.ConfigureRequest) {
	req := sdk.ConfigureRequest{Target: "local", Node: "n1", Cluster: "neighbour", Generation: 2, StateDir: t.TempDir()}
	d := process.New()
	other := wrap(t, d)
	if err := other.Configure(context.Background(), req); err != nil {
		t.Fatalf("Configure: %v", err)
	}
	t.Cleanup(func() {
		if err := d.Close(context.Background()); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return other, req
}

// processesOf lists the instances of which there are processes, by their environment in the process table.
func processesOf(t sdktest.T, dir string) []string {
	files, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		t.Fatalf("%v", err)
	}
	ids := map[string]bool{}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil || !bytes.Contains(data, []byte("INSTAR_DIR="+dir)) {
			continue // it has ended, or is somebody else's
		}
		for _, variable := range strings.Split(string(data), "\x00") {
			if id, ok := strings.CutPrefix(variable, "INSTAR_INSTANCE="); ok {
				ids[id] = true
			}
		}
	}
	return slices.Collect(maps.Keys(ids))
}
