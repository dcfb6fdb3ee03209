package docker_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
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
	conforms(t, 1, nil, func(_ sdktest.T, d *docker.Driver) sdk.Compute { return d })
}

func TestConformanceOverGRPC(t *testing.T) {
	t.Parallel()
	needEngine(t)
	conforms(t, 1, ofTheEngine, func(t sdktest.T, d *docker.Driver) sdk.Compute { return sdktest.ServeCompute(t, d) })
}

// ofTheEngine are the checks whose outcome is the engine's and the driver's affair only, and that make containers: they
// are run in process. What a wire could change is run over one, too: what is sent, errors, streams, ends of calls.
var ofTheEngine = []string{
	"create/concurrent-ids", "create/destroyed-id", "create/exited", "create/racing-destroy", "create/same-id-once",
	"destroy/concurrent", "destroy/exited", "destroy/leaves-no-data", "destroy/leaves-nothing", "destroy/leaves-others",
	"destroy/stubborn", "configure/leaves-instances", "fingerprint/stable", "limits/ids", "list/beside-changes",
	"list/by-cluster", "list/complete-after-restart", "list/other-cluster", "mount/stays-inside", "prune/keeps-used",
}

// inTime is the check that counts from a program's end on what the engine does, too: it has the engine to itself.
const inTime = "watch/exit"

// conforms runs the suite but for some checks, several at a time: each has a driver and a cluster of its own, and what
// takes time is the engine.
func conforms(t *testing.T, rounds int, without []string, wrap func(sdktest.T, *docker.Driver) sdk.Compute) {
	t.Helper()
	checks := sdktest.ComputeChecks(func(t sdktest.T) sdktest.ComputeFixture {
		f := fixture(t, quiet, wrap)
		f.Rounds = rounds
		return f
	})
	for _, name := range append(without, inTime) {
		if !slices.ContainsFunc(checks, func(c sdktest.Check) bool { return c.Name == name }) {
			t.Errorf("the suite has no check %s", name)
		}
	}
	for _, c := range checks {
		if slices.Contains(without, c.Name) {
			continue
		}
		t.Run(c.Name, func(t *testing.T) {
			if c.Name != inTime {
				t.Parallel()
			}
			defer func() {
				if t.Failed() {
					t.Logf("the contract: %s", c.Promise)
				}
			}()
			c.Run(t)
		})
	}
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
	return targetAt(e.Endpoint, e.Address, more)
}

func targetAt(endpoint, address, more string) json.RawMessage {
	return json.RawMessage(fmt.Sprintf(`{"endpoint": %q, "address": %q%s}`, endpoint, address, more))
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
		Artifact: sdk.Artifact{Source: e.Local(image)},
		Gone:     sdk.Artifact{Source: "sha256:" + fmt.Sprintf("%064d", 0)},
		Config:   json.RawMessage(`{"command": ["sh", "-c", "trap 'exit 0' TERM; sleep 3600 & wait"]}`),
		Exits:    json.RawMessage(`{"command": ["sh", "-c", "exit 3"]}`),
		Talks: json.RawMessage(`{"command": ["sh", "-c",
			"for n in 1 2 3 4 5; do echo out $n; done; echo err 1 >&2; trap 'exit 0' TERM; sleep 3600 & wait"]}`),
		Fails:    json.RawMessage(`{"command": ["/no-such-program"]}`),
		Stubborn: json.RawMessage(`{"command": ["sh", "-c", "trap '' TERM; echo stubborn; while :; do sleep 1; done"]}`),
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
