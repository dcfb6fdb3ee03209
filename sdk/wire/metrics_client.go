package wire

import (
	"context"

	"google.golang.org/grpc"

	"github.com/instarhq/instar/sdk"
	"github.com/instarhq/instar/sdk/wire/driverv1"
)

type metricsClient struct {
	driverClient
	metrics driverv1.MetricsServiceClient
}

// NewMetrics returns a client of the metrics driver at the other end of conn.
func NewMetrics(conn grpc.ClientConnInterface) sdk.Metrics {
	return &metricsClient{driverClient{driverv1.NewDriverServiceClient(conn)}, driverv1.NewMetricsServiceClient(conn)}
}

// Query implements sdk.Metrics.
func (c *metricsClient) Query(ctx context.Context, q sdk.Query) (sdk.Result, error) {
	resp, err := c.metrics.Query(ctx, queryToWire(q))
	if err != nil {
		return sdk.Result{}, fromStatus(ctx, err)
	}
	return resultFromWire(resp), nil
}
