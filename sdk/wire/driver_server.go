package wire

import (
	"context"

	"google.golang.org/grpc"

	"github.com/instarhq/instar/sdk"
	"github.com/instarhq/instar/sdk/wire/driverv1"
)

// driverServer serves what all kinds have in common.
type driverServer struct {
	driverv1.UnimplementedDriverServiceServer
	impl sdk.Driver
}

// Describe answers driverv1.DriverService.
func (s *driverServer) Describe(ctx context.Context, _ *driverv1.DescribeRequest) (*driverv1.DescribeResponse, error) {
	d, err := s.impl.Describe(ctx)
	if err != nil {
		return nil, toStatus(ctx, err)
	}
	resp, err := descriptionToWire(d)
	return resp, toStatus(ctx, err)
}

// Configure answers driverv1.DriverService.
func (s *driverServer) Configure(ctx context.Context, req *driverv1.ConfigureRequest) (*driverv1.ConfigureResponse, error) {
	err := s.impl.Configure(ctx, configureFromWire(req))
	return &driverv1.ConfigureResponse{}, toStatus(ctx, err)
}

// Probe answers driverv1.DriverService.
func (s *driverServer) Probe(_ *driverv1.ProbeRequest, stream grpc.ServerStreamingServer[driverv1.ProbeResponse]) error {
	err := s.impl.Probe(stream.Context(), func(h sdk.Health) error { return stream.Send(healthToWire(h)) })
	return toStatus(stream.Context(), err)
}
