package wire

import (
	"context"
	"time"

	"google.golang.org/grpc"

	"github.com/instarhq/instar/sdk"
	"github.com/instarhq/instar/sdk/wire/driverv1"
)

type trafficClient struct {
	driverClient
	traffic driverv1.TrafficServiceClient
}

// NewTraffic returns a client of the traffic driver at the other end of conn.
func NewTraffic(conn grpc.ClientConnInterface) sdk.Traffic {
	return &trafficClient{driverClient{driverv1.NewDriverServiceClient(conn)}, driverv1.NewTrafficServiceClient(conn)}
}

// Apply implements sdk.Traffic.
func (c *trafficClient) Apply(ctx context.Context, route sdk.Route) error {
	_, err := c.traffic.Apply(ctx, &driverv1.ApplyRequest{Route: routeToWire(route)})
	return fromStatus(ctx, err)
}

// Observe implements sdk.Traffic.
func (c *trafficClient) Observe(ctx context.Context, route string) (sdk.Observation, error) {
	resp, err := c.traffic.Observe(ctx, &driverv1.ObserveRequest{Route: route})
	if err != nil {
		return sdk.Observation{}, fromStatus(ctx, err)
	}
	return observationFromWire(resp), nil
}

// List implements sdk.Traffic.
func (c *trafficClient) List(ctx context.Context) ([]string, error) {
	resp, err := c.traffic.ListRoutes(ctx, &driverv1.ListRoutesRequest{})
	if err != nil {
		return nil, fromStatus(ctx, err)
	}
	return resp.GetRoutes(), nil
}

// Remove implements sdk.Traffic.
func (c *trafficClient) Remove(ctx context.Context, route string, generation uint64, drain time.Duration) error {
	_, err := c.traffic.Remove(ctx, &driverv1.RemoveRequest{Route: route, Generation: generation, Drain: durationToWire(drain)})
	return fromStatus(ctx, err)
}

// Hold implements sdk.Traffic.
func (c *trafficClient) Hold(ctx context.Context, route string, limits sdk.HoldLimits) error {
	_, err := c.traffic.Hold(ctx, &driverv1.HoldRequest{
		Route: route, Requests: int64(limits.Requests), Timeout: durationToWire(limits.Timeout),
	})
	return fromStatus(ctx, err)
}

// Release implements sdk.Traffic.
func (c *trafficClient) Release(ctx context.Context, route string) error {
	_, err := c.traffic.Release(ctx, &driverv1.ReleaseRequest{Route: route})
	return fromStatus(ctx, err)
}
