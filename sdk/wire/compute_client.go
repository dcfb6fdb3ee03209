package wire

import (
	"context"
	"time"

	"google.golang.org/grpc"

	"github.com/instarhq/instar/sdk"
	"github.com/instarhq/instar/sdk/wire/driverv1"
)

type computeClient struct {
	driverClient
	compute driverv1.ComputeServiceClient
}

// NewCompute returns a client of the compute driver at the other end of conn.
func NewCompute(conn grpc.ClientConnInterface) sdk.Compute {
	return &computeClient{driverClient{driverv1.NewDriverServiceClient(conn)}, driverv1.NewComputeServiceClient(conn)}
}

// Resolve implements sdk.Compute.
func (c *computeClient) Resolve(ctx context.Context, artifact sdk.Artifact) (sdk.Artifact, error) {
	resp, err := c.compute.Resolve(ctx, &driverv1.ResolveRequest{Artifact: artifactToWire(artifact)})
	if err != nil {
		return sdk.Artifact{}, fromStatus(ctx, err)
	}
	return artifactFromWire(resp.GetArtifact()), nil
}

// Fetch implements sdk.Compute.
func (c *computeClient) Fetch(ctx context.Context, artifact sdk.Artifact, progress func(sdk.FetchProgress)) error {
	if progress == nil {
		progress = func(sdk.FetchProgress) {}
	}
	return drain(ctx, func(ctx context.Context) (grpc.ServerStreamingClient[driverv1.FetchResponse], error) {
		return c.compute.Fetch(ctx, &driverv1.FetchRequest{Artifact: artifactToWire(artifact)})
	}, func(m *driverv1.FetchResponse) error {
		progress(sdk.FetchProgress{Done: m.GetDone(), Total: m.GetTotal()})
		return nil
	})
}

// Create implements sdk.Compute.
func (c *computeClient) Create(ctx context.Context, spec sdk.InstanceSpec) (sdk.Instance, error) {
	resp, err := c.compute.Create(ctx, specToWire(spec))
	if err != nil {
		return sdk.Instance{}, fromStatus(ctx, err)
	}
	return instanceFromWire(resp.GetInstance()), nil
}

// Destroy implements sdk.Compute.
func (c *computeClient) Destroy(ctx context.Context, id string, grace time.Duration) error {
	_, err := c.compute.Destroy(ctx, &driverv1.DestroyRequest{Id: id, Grace: durationToWire(grace)})
	return fromStatus(ctx, err)
}

// Inspect implements sdk.Compute.
func (c *computeClient) Inspect(ctx context.Context, id string) (sdk.Instance, error) {
	resp, err := c.compute.Inspect(ctx, &driverv1.InspectRequest{Id: id})
	if err != nil {
		return sdk.Instance{}, fromStatus(ctx, err)
	}
	return instanceFromWire(resp.GetInstance()), nil
}

// List implements sdk.Compute.
func (c *computeClient) List(ctx context.Context, cluster string) ([]sdk.Instance, error) {
	resp, err := c.compute.List(ctx, &driverv1.ListRequest{Cluster: cluster})
	if err != nil {
		return nil, fromStatus(ctx, err)
	}
	return each(resp.GetInstances(), instanceFromWire), nil
}

// Watch implements sdk.Compute.
func (c *computeClient) Watch(ctx context.Context, event func(sdk.Instance) error) error {
	return drain(ctx, func(ctx context.Context) (grpc.ServerStreamingClient[driverv1.WatchResponse], error) {
		return c.compute.Watch(ctx, &driverv1.WatchRequest{})
	}, func(m *driverv1.WatchResponse) error { return event(instanceFromWire(m.GetInstance())) })
}

// Logs implements sdk.Compute.
func (c *computeClient) Logs(ctx context.Context, id string, opts sdk.LogOptions, line func(sdk.LogLine) error) error {
	return drain(ctx, func(ctx context.Context) (grpc.ServerStreamingClient[driverv1.LogsResponse], error) {
		return c.compute.Logs(ctx, &driverv1.LogsRequest{Id: id, Follow: opts.Follow, Tail: int32(opts.Tail)})
	}, func(m *driverv1.LogsResponse) error { return line(lineFromWire(m)) })
}

// Usage implements sdk.Compute.
func (c *computeClient) Usage(ctx context.Context, interval time.Duration, report func([]sdk.Usage) error) error {
	return drain(ctx, func(ctx context.Context) (grpc.ServerStreamingClient[driverv1.UsageResponse], error) {
		return c.compute.Usage(ctx, &driverv1.UsageRequest{Interval: durationToWire(interval)})
	}, func(m *driverv1.UsageResponse) error { return report(each(m.GetSamples(), usageFromWire)) })
}

// Prune implements sdk.Compute.
func (c *computeClient) Prune(ctx context.Context, keep []string) (int64, error) {
	resp, err := c.compute.Prune(ctx, &driverv1.PruneRequest{Keep: keep})
	if err != nil {
		return 0, fromStatus(ctx, err)
	}
	return resp.GetFreed(), nil
}
