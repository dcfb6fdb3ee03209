package wire

import (
	"context"

	"github.com/instarhq/instar/sdk"
	"github.com/instarhq/instar/sdk/wire/driverv1"
)

type metricsServer struct {
	driverv1.UnimplementedMetricsServiceServer
	impl sdk.Metrics
}

// Query answers driverv1.MetricsService.
func (s *metricsServer) Query(ctx context.Context, req *driverv1.QueryRequest) (*driverv1.QueryResponse, error) {
	r, err := s.impl.Query(ctx, queryFromWire(req))
	return resultToWire(r), toStatus(ctx, err)
}
