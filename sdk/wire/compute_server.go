package wire

import (
	"context"

	"google.golang.org/grpc"

	"github.com/instarhq/instar/sdk"
	"github.com/instarhq/instar/sdk/wire/driverv1"
)

type computeServer struct {
	driverv1.UnimplementedComputeServiceServer
	impl sdk.Compute
}

// Resolve answers driverv1.ComputeService.
func (s *computeServer) Resolve(ctx context.Context, req *driverv1.ResolveRequest) (*driverv1.ResolveResponse, error) {
	a, err := s.impl.Resolve(ctx, artifactFromWire(req.GetArtifact()))
	return &driverv1.ResolveResponse{Artifact: artifactToWire(a)}, toStatus(ctx, err)
}

// Fetch answers driverv1.ComputeService.
func (s *computeServer) Fetch(req *driverv1.FetchRequest, stream grpc.ServerStreamingServer[driverv1.FetchResponse]) error {
	err := s.impl.Fetch(stream.Context(), artifactFromWire(req.GetArtifact()), func(p sdk.FetchProgress) {
		// A caller that is gone has cancelled the context, which is what ends the fetch.
		_ = stream.Send(&driverv1.FetchResponse{Done: p.Done, Total: p.Total})
	})
	return toStatus(stream.Context(), err)
}

// Create answers driverv1.ComputeService.
func (s *computeServer) Create(ctx context.Context, req *driverv1.CreateRequest) (*driverv1.CreateResponse, error) {
	i, err := s.impl.Create(ctx, specFromWire(req))
	return &driverv1.CreateResponse{Instance: instanceToWire(i)}, toStatus(ctx, err)
}

// Destroy answers driverv1.ComputeService.
func (s *computeServer) Destroy(ctx context.Context, req *driverv1.DestroyRequest) (*driverv1.DestroyResponse, error) {
	err := s.impl.Destroy(ctx, req.GetId(), req.GetGrace().AsDuration())
	return &driverv1.DestroyResponse{}, toStatus(ctx, err)
}

// Inspect answers driverv1.ComputeService.
func (s *computeServer) Inspect(ctx context.Context, req *driverv1.InspectRequest) (*driverv1.InspectResponse, error) {
	i, err := s.impl.Inspect(ctx, req.GetId())
	return &driverv1.InspectResponse{Instance: instanceToWire(i)}, toStatus(ctx, err)
}

// List answers driverv1.ComputeService.
func (s *computeServer) List(ctx context.Context, req *driverv1.ListRequest) (*driverv1.ListResponse, error) {
	list, err := s.impl.List(ctx, req.GetCluster())
	return &driverv1.ListResponse{Instances: each(list, instanceToWire)}, toStatus(ctx, err)
}

// Watch answers driverv1.ComputeService.
func (s *computeServer) Watch(_ *driverv1.WatchRequest, stream grpc.ServerStreamingServer[driverv1.WatchResponse]) error {
	err := s.impl.Watch(stream.Context(), func(i sdk.Instance) error {
		return stream.Send(&driverv1.WatchResponse{Instance: instanceToWire(i)})
	})
	return toStatus(stream.Context(), err)
}

// Logs answers driverv1.ComputeService.
func (s *computeServer) Logs(req *driverv1.LogsRequest, stream grpc.ServerStreamingServer[driverv1.LogsResponse]) error {
	opts := sdk.LogOptions{Follow: req.GetFollow(), Tail: int(req.GetTail())}
	err := s.impl.Logs(stream.Context(), req.GetId(), opts, func(l sdk.LogLine) error { return stream.Send(lineToWire(l)) })
	return toStatus(stream.Context(), err)
}

// Usage answers driverv1.ComputeService.
func (s *computeServer) Usage(req *driverv1.UsageRequest, stream grpc.ServerStreamingServer[driverv1.UsageResponse]) error {
	err := s.impl.Usage(stream.Context(), req.GetInterval().AsDuration(), func(list []sdk.Usage) error {
		return stream.Send(&driverv1.UsageResponse{Samples: each(list, usageToWire)})
	})
	return toStatus(stream.Context(), err)
}

// Prune answers driverv1.ComputeService.
func (s *computeServer) Prune(ctx context.Context, req *driverv1.PruneRequest) (*driverv1.PruneResponse, error) {
	freed, err := s.impl.Prune(ctx, req.GetKeep())
	return &driverv1.PruneResponse{Freed: freed}, toStatus(ctx, err)
}
