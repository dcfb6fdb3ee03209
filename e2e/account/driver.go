package main

import (
	"context"
	"time"

	"github.com/zclconf/go-cty/cty"

	"github.com/instarhq/instar/sdk"
)

// driver serves one target.
type driver struct {
	account backend
}

var _ sdk.Compute = (*driver)(nil)

var targetSchema = sdk.Schema{
	{Name: "dir", Type: cty.String, Required: true, Doc: "Folder that the drivers of all nodes share."},
}

var workloadSchema = sdk.Schema{
	{Name: "command", Type: cty.List(cty.String), Required: true, Doc: "Program and arguments; the address to listen on is added."},
}

// Describe needs no configuration.
func (d *driver) Describe(context.Context) (sdk.Description, error) {
	return sdk.Description{
		Name: "account", Version: "0.1.0", Kind: sdk.KindCompute, Scope: sdk.ScopeCluster,
		Doc:    "Each instance is a process that the drivers of all nodes share.",
		Target: targetSchema, Workload: workloadSchema,
	}, nil
}

// Configure binds the process to the folder.
func (d *driver) Configure(_ context.Context, req sdk.ConfigureRequest) error {
	var config struct {
		Dir string `json:"dir"`
	}
	if err := sdk.Decode(targetSchema, req.Config, &config); err != nil {
		return err
	}
	account, err := openBackend(config.Dir, req.Node)
	if err != nil {
		return err
	}
	if err := account.raise(req.Generation); err != nil {
		return err
	}
	d.account = account
	return nil
}

// Probe reports at once, and would report again if anything changed.
func (d *driver) Probe(ctx context.Context, report func(sdk.Health) error) error {
	if err := report(sdk.Health{Healthy: true}); err != nil {
		return err
	}
	<-ctx.Done()
	return ctx.Err()
}

// Resolve is not supported: the command names what runs.
func (d *driver) Resolve(_ context.Context, a sdk.Artifact) (sdk.Artifact, error) {
	return a, sdk.InvalidConfig("artifact.source", "instances of this driver have no artifact")
}

// Fetch is not supported.
func (d *driver) Fetch(context.Context, sdk.Artifact, func(sdk.FetchProgress)) error {
	return sdk.Unsupported("instances of this driver have no artifact")
}

// Prune finds nothing.
func (d *driver) Prune(context.Context, []string) (int64, error) { return 0, nil }

// Logs is not supported, and Describe does not promise it.
func (d *driver) Logs(context.Context, string, sdk.LogOptions, func(sdk.LogLine) error) error {
	return sdk.Unsupported("the output of instances is not kept")
}

// Usage is not supported, and Describe does not promise it.
func (d *driver) Usage(context.Context, time.Duration, func([]sdk.Usage) error) error {
	return sdk.Unsupported("the usage of instances is not measured")
}
