package wire

import (
	"context"

	"github.com/instarhq/instar/sdk"
	"github.com/instarhq/instar/sdk/wire/driverv1"
)

type trafficServer struct {
	driverv1.UnimplementedTrafficServiceServer
	impl sdk.Traffic
}

// Apply answers driverv1.TrafficService.
func (s *trafficServer) Apply(ctx context.Context, req *driverv1.ApplyRequest) (*driverv1.ApplyResponse, error) {
	err := s.impl.Apply(ctx, routeFromWire(req.GetRoute()))
	return &driverv1.ApplyResponse{}, toStatus(ctx, err)
}

// Observe answers driverv1.TrafficService.
func (s *trafficServer) Observe(ctx context.Context, req *driverv1.ObserveRequest) (*driverv1.ObserveResponse, error) {
	o, err := s.impl.Observe(ctx, req.GetRoute())
	return observationToWire(o), toStatus(ctx, err)
}

// ListRoutes answers driverv1.TrafficService.
func (s *trafficServer) ListRoutes(ctx context.Context, _ *driverv1.ListRoutesRequest) (*driverv1.ListRoutesResponse, error) {
	routes, err := s.impl.List(ctx)
	return &driverv1.ListRoutesResponse{Routes: routes}, toStatus(ctx, err)
}

// Remove answers driverv1.TrafficService.
func (s *trafficServer) Remove(ctx context.Context, req *driverv1.RemoveRequest) (*driverv1.RemoveResponse, error) {
	err := s.impl.Remove(ctx, req.GetRoute(), req.GetGeneration(), req.GetDrain().AsDuration())
	return &driverv1.RemoveResponse{}, toStatus(ctx, err)
}

// Hold answers driverv1.TrafficService.
func (s *trafficServer) Hold(ctx context.Context, req *driverv1.HoldRequest) (*driverv1.HoldResponse, error) {
	limits := sdk.HoldLimits{Requests: int(req.GetRequests()), Timeout: req.GetTimeout().AsDuration()}
	err := s.impl.Hold(ctx, req.GetRoute(), limits)
	return &driverv1.HoldResponse{}, toStatus(ctx, err)
}

// Release answers driverv1.TrafficService.
func (s *trafficServer) Release(ctx context.Context, req *driverv1.ReleaseRequest) (*driverv1.ReleaseResponse, error) {
	err := s.impl.Release(ctx, req.GetRoute())
	return &driverv1.ReleaseResponse{}, toStatus(ctx, err)
}
