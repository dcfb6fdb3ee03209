package docker_test

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"

	"github.com/moby/moby/client"

	"github.com/instarhq/instar/plugins/compute/docker"
	"github.com/instarhq/instar/plugins/compute/docker/dockertest"
	"github.com/instarhq/instar/sdk"
	"github.com/instarhq/instar/sdk/sdktest"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	needEngine(t)
	sdktest.Compute(t, func(t sdktest.T) sdktest.ComputeFixture {
		return fixture(t, engine, func(_ sdktest.T, d *docker.Driver) sdk.Compute { return d })
	})
}

func TestConformanceOverGRPC(t *testing.T) {
	t.Parallel()
	needEngine(t)
	sdktest.Compute(t, func(t sdktest.T) sdktest.ComputeFixture {
		return fixture(t, engine, func(t sdktest.T, d *docker.Driver) sdk.Compute { return sdktest.ServeCompute(t, d) })
	})
}

// needEngine ends a test of a user who cannot run an engine: dockerd needs root.
func needEngine(t *testing.T) {
	t.Helper()
	if engine == nil {
		dockertest.Need(t, dockertest.ErrNotRoot)
	}
}

// targetOf is the configuration of a target at an engine.
func targetOf(e *dockertest.Engine, more string) json.RawMessage {
	return json.RawMessage(fmt.Sprintf(`{"endpoint": %q, "address": %q%s}`, e.Endpoint, e.Address, more))
}

// fixture is a driver with a state directory and a cluster of its own, as the suite sees it through wrap.
func fixture(t sdktest.T, e *dockertest.Engine, wrap func(sdktest.T, *docker.Driver) sdk.Compute) sdktest.ComputeFixture {
	dir := t.TempDir()
	req := sdk.ConfigureRequest{
		Target: "local", Node: "n1", Cluster: "conformance-" + dir, Generation: 2, StateDir: dir, Config: targetOf(e, ""),
	}
	var current *docker.Driver
	fresh := func(t sdktest.T) sdk.Compute {
		if current != nil {
			if err := current.Close(context.Background()); err != nil {
				t.Fatalf("Close: %v", err)
			}
		}
		current = docker.New()
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
	return sdktest.ComputeFixture{
		Driver: driver, Configure: req, Reopen: open, Unconfigured: fresh, Mounts: true,
		Other:    func(t sdktest.T) (sdk.Compute, sdk.ConfigureRequest) { return neighbour(t, e, wrap) },
		Holds:    func(t sdktest.T) []string { return containersOf(t, e, req.Cluster) },
		Harness:  sdktest.Harness{Rounds: 2},
		Artifact: sdk.Artifact{Source: e.Local(image)},
		Gone:     sdk.Artifact{Source: "sha256:" + fmt.Sprintf("%064d", 0)},
		Config:   json.RawMessage(`{"command": ["sh", "-c", "trap 'exit 0' TERM; sleep 3600 & wait"]}`),
		Exits:    json.RawMessage(`{"command": ["sh", "-c", "exit 3"]}`),
		Talks: json.RawMessage(`{"command": ["sh", "-c",
			"for n in 1 2 3 4 5; do echo out $n; done; echo err 1 >&2; trap 'exit 0' TERM; sleep 3600 & wait"]}`),
		Fails:    json.RawMessage(`{"command": ["/no-such-program"]}`),
		Stubborn: json.RawMessage(`{"command": ["sh", "-c", "trap '' TERM; while :; do sleep 1; done"]}`),
		Shows: json.RawMessage(`{"command": ["sh", "-c",
			"printf '%s\\n' \"$CONFORMANCE\"; if test -e /conformance/data.txt; then cat /conformance/data.txt; fi; unset CONFORMANCE; trap 'exit 0' TERM; sleep 3600 & wait"]}`),
		Ports: []sdk.Port{{Name: "http"}, {Name: "admin-api"}},
	}
}

// neighbour is a driver at the same engine for another cluster.
func neighbour(t sdktest.T, e *dockertest.Engine, wrap func(sdktest.T, *docker.Driver) sdk.Compute) (sdk.Compute, sdk.ConfigureRequest) {
	dir := t.TempDir()
	req := sdk.ConfigureRequest{
		Target: "local", Node: "n1", Cluster: "neighbour-" + dir, Generation: 2, StateDir: dir, Config: targetOf(e, ""),
	}
	d := docker.New()
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

// containersOf lists the containers of a cluster, in any state, as the engine has them.
func containersOf(t sdktest.T, e *dockertest.Engine, cluster string) []string {
	list, err := e.API.ContainerList(context.Background(), client.ContainerListOptions{
		All: true, Filters: client.Filters{}.Add("label", "instar.cluster="+cluster),
	})
	if err != nil {
		t.Fatalf("list containers: %v", err)
	}
	var names []string
	for _, c := range list.Items {
		names = append(names, c.Names[0])
	}
	return names
}
