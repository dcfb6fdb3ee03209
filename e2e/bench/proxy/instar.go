package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/instarhq/instar/sdk"
	"github.com/instarhq/instar/sdk/launch"
)

// startInstar builds the driver and starts it as instard does, with one route.
func startInstar(ctx context.Context, dir, backend string) (*server, error) {
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	binary := filepath.Join(dir, "instar-traffic-proxy")
	build := exec.CommandContext(ctx, "go", "build", "-o", binary, "github.com/instarhq/instar/cmd/instar-traffic-proxy")
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("go build: %w\n%s", err, out)
	}
	stateDir := filepath.Join(dir, "state")
	if err := os.Mkdir(stateDir, 0o700); err != nil {
		return nil, err
	}
	process, err := launch.Start(ctx, launch.Options{
		Path: binary, Dir: filepath.Join(dir, "launch"), Log: filepath.Join(dir, "instar.log"),
	})
	if err != nil {
		return nil, err
	}
	s := &server{name: "instar", address: address, stop: func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		return process.Stop(ctx)
	}}
	client, err := process.Driver(sdk.KindTraffic)
	if err != nil {
		return s, err
	}
	driver, ok := client.(sdk.Traffic)
	if !ok {
		return s, fmt.Errorf("the driver is a %T", client)
	}
	if err := driver.Configure(ctx, sdk.ConfigureRequest{
		Target: "bench", Node: "bench", Cluster: "bench", Generation: 1, StateDir: stateDir,
	}); err != nil {
		return s, err
	}
	if err := driver.Apply(ctx, sdk.Route{
		ID: "bench", Generation: 1, Listen: address, Protocol: sdk.ProtocolHTTP,
		Pools: []sdk.Pool{{Revision: 1, Weight: 1, Endpoints: []sdk.Endpoint{{ID: "one", Address: backend}}}},
	}); err != nil {
		return s, err
	}
	return s, answers(ctx, address)
}
