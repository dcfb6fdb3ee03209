package driverhost

import (
	"context"
	"io"
	"time"

	"github.com/instarhq/instar/sdk"
)

// The clients below forward to whatever process the target has when a call begins.

type driverClient struct{ t *target }

func (c driverClient) Describe(ctx context.Context) (sdk.Description, error) {
	return call(ctx, c.t, "Describe", quickCall, func(ctx context.Context, d sdk.Driver) (sdk.Description, error) { return d.Describe(ctx) })
}

// Configure is not for users of a target: its configuration comes from Host.Open.
func (c driverClient) Configure(context.Context, sdk.ConfigureRequest) error {
	return sdk.Unsupported("%s is configured by its host", c.t.key)
}

func (c driverClient) Probe(ctx context.Context, report func(sdk.Health) error) error {
	return stream(ctx, c.t, "Probe", func(ctx context.Context, d sdk.Driver) error { return d.Probe(ctx, report) })
}

type computeClient struct{ driverClient }

var _ sdk.Compute = (*computeClient)(nil)

func (c *computeClient) Resolve(ctx context.Context, artifact sdk.Artifact) (sdk.Artifact, error) {
	return call(ctx, c.t, "Resolve", bulkCall, func(ctx context.Context, d sdk.Compute) (sdk.Artifact, error) { return d.Resolve(ctx, artifact) })
}

func (c *computeClient) Fetch(ctx context.Context, artifact sdk.Artifact, progress func(sdk.FetchProgress)) error {
	return run(ctx, c.t, "Fetch", bulkCall, func(ctx context.Context, d sdk.Compute) error { return d.Fetch(ctx, artifact, progress) })
}

func (c *computeClient) Create(ctx context.Context, spec sdk.InstanceSpec) (sdk.Instance, error) {
	return call(ctx, c.t, "Create", workCall, func(ctx context.Context, d sdk.Compute) (sdk.Instance, error) { return d.Create(ctx, spec) })
}

func (c *computeClient) Destroy(ctx context.Context, id string, grace time.Duration) error {
	return run(ctx, c.t, "Destroy", grace+workCall, func(ctx context.Context, d sdk.Compute) error { return d.Destroy(ctx, id, grace) })
}

func (c *computeClient) Inspect(ctx context.Context, id string) (sdk.Instance, error) {
	return call(ctx, c.t, "Inspect", quickCall, func(ctx context.Context, d sdk.Compute) (sdk.Instance, error) { return d.Inspect(ctx, id) })
}

func (c *computeClient) List(ctx context.Context, cluster string) ([]sdk.Instance, error) {
	return call(ctx, c.t, "List", quickCall, func(ctx context.Context, d sdk.Compute) ([]sdk.Instance, error) { return d.List(ctx, cluster) })
}

func (c *computeClient) Watch(ctx context.Context, event func(sdk.Instance) error) error {
	return stream(ctx, c.t, "Watch", func(ctx context.Context, d sdk.Compute) error { return d.Watch(ctx, event) })
}

func (c *computeClient) Logs(ctx context.Context, id string, opts sdk.LogOptions, line func(sdk.LogLine) error) error {
	return stream(ctx, c.t, "Logs", func(ctx context.Context, d sdk.Compute) error { return d.Logs(ctx, id, opts, line) })
}

func (c *computeClient) Usage(ctx context.Context, interval time.Duration, report func([]sdk.Usage) error) error {
	return stream(ctx, c.t, "Usage", func(ctx context.Context, d sdk.Compute) error { return d.Usage(ctx, interval, report) })
}

func (c *computeClient) Prune(ctx context.Context, keep []string) (int64, error) {
	return call(ctx, c.t, "Prune", workCall, func(ctx context.Context, d sdk.Compute) (int64, error) { return d.Prune(ctx, keep) })
}

// Every client is a keeper; a driver that is none answers Unsupported.
var _ sdk.ArtifactKeeper = (*computeClient)(nil)

func (c *computeClient) ExportArtifact(ctx context.Context, digest string, w io.Writer) error {
	return run(ctx, c.t, "ExportArtifact", bulkCall, func(ctx context.Context, d sdk.Compute) error {
		keeper, err := keeperOf(c.t, d)
		if err != nil {
			return err
		}
		return keeper.ExportArtifact(ctx, digest, w)
	})
}

func (c *computeClient) ImportArtifact(ctx context.Context, digest string, r io.Reader) error {
	return run(ctx, c.t, "ImportArtifact", bulkCall, func(ctx context.Context, d sdk.Compute) error {
		keeper, err := keeperOf(c.t, d)
		if err != nil {
			return err
		}
		return keeper.ImportArtifact(ctx, digest, r)
	})
}

func keeperOf(t *target, d sdk.Compute) (sdk.ArtifactKeeper, error) {
	if keeper, ok := d.(sdk.ArtifactKeeper); ok {
		return keeper, nil
	}
	return nil, sdk.Unsupported("%s cannot export and import artifacts", t.key)
}

type trafficClient struct{ driverClient }

var _ sdk.Traffic = (*trafficClient)(nil)

func (c *trafficClient) Apply(ctx context.Context, route sdk.Route) error {
	return run(ctx, c.t, "Apply", quickCall, func(ctx context.Context, d sdk.Traffic) error { return d.Apply(ctx, route) })
}

func (c *trafficClient) Observe(ctx context.Context, route string) (sdk.Observation, error) {
	return call(ctx, c.t, "Observe", quickCall, func(ctx context.Context, d sdk.Traffic) (sdk.Observation, error) { return d.Observe(ctx, route) })
}

func (c *trafficClient) List(ctx context.Context) ([]string, error) {
	return call(ctx, c.t, "List", quickCall, func(ctx context.Context, d sdk.Traffic) ([]string, error) { return d.List(ctx) })
}

func (c *trafficClient) Remove(ctx context.Context, route string, generation uint64, drain time.Duration) error {
	return run(ctx, c.t, "Remove", drain+quickCall, func(ctx context.Context, d sdk.Traffic) error {
		return d.Remove(ctx, route, generation, drain)
	})
}

func (c *trafficClient) Hold(ctx context.Context, route string, limits sdk.HoldLimits) error {
	return run(ctx, c.t, "Hold", quickCall, func(ctx context.Context, d sdk.Traffic) error { return d.Hold(ctx, route, limits) })
}

func (c *trafficClient) Release(ctx context.Context, route string) error {
	return run(ctx, c.t, "Release", quickCall, func(ctx context.Context, d sdk.Traffic) error { return d.Release(ctx, route) })
}

type metricsClient struct{ driverClient }

var _ sdk.Metrics = (*metricsClient)(nil)

func (c *metricsClient) Query(ctx context.Context, q sdk.Query) (sdk.Result, error) {
	return call(ctx, c.t, "Query", quickCall, func(ctx context.Context, d sdk.Metrics) (sdk.Result, error) { return d.Query(ctx, q) })
}
