package wire

import (
	"context"

	"google.golang.org/grpc"

	"github.com/instarhq/instar/sdk"
	"github.com/instarhq/instar/sdk/wire/driverv1"
)

// driverClient implements sdk.Driver; the clients of the kinds embed it.
type driverClient struct {
	driver driverv1.DriverServiceClient
}

var _ sdk.Driver = driverClient{}

// Describe implements sdk.Driver.
func (c driverClient) Describe(ctx context.Context) (sdk.Description, error) {
	resp, err := c.driver.Describe(ctx, &driverv1.DescribeRequest{})
	if err != nil {
		return sdk.Description{}, fromStatus(ctx, err)
	}
	return descriptionFromWire(resp)
}

// Configure implements sdk.Driver.
func (c driverClient) Configure(ctx context.Context, req sdk.ConfigureRequest) error {
	_, err := c.driver.Configure(ctx, configureToWire(req))
	return fromStatus(ctx, err)
}

// Probe implements sdk.Driver.
func (c driverClient) Probe(ctx context.Context, report func(sdk.Health) error) error {
	return drain(ctx, func(ctx context.Context) (grpc.ServerStreamingClient[driverv1.ProbeResponse], error) {
		return c.driver.Probe(ctx, &driverv1.ProbeRequest{})
	}, func(m *driverv1.ProbeResponse) error { return report(healthFromWire(m)) })
}
