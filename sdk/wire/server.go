package wire

import (
	"context"
	"fmt"
	"runtime/debug"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/instarhq/instar/sdk"
	"github.com/instarhq/instar/sdk/wire/driverv1"
)

// MaxMessageBytes bounds one message in either direction: a route with tens of thousands of endpoints
// and an instance with many mounts fit by far, a runaway peer does not.
const MaxMessageBytes = 256 << 20

// KindOf tells which kind of driver an implementation is, by the contract that it fulfils; empty: none.
func KindOf(driver sdk.Driver) sdk.Kind {
	switch driver.(type) {
	case sdk.Compute:
		return sdk.KindCompute
	case sdk.Traffic:
		return sdk.KindTraffic
	case sdk.Metrics:
		return sdk.KindMetrics
	}
	return ""
}

// Register serves a driver on a gRPC server: what all kinds have in common, and its own kind.
func Register(server grpc.ServiceRegistrar, driver sdk.Driver) error {
	switch impl := driver.(type) {
	case sdk.Compute:
		driverv1.RegisterComputeServiceServer(server, &computeServer{impl: impl})
	case sdk.Traffic:
		driverv1.RegisterTrafficServiceServer(server, &trafficServer{impl: impl})
	case sdk.Metrics:
		driverv1.RegisterMetricsServiceServer(server, &metricsServer{impl: impl})
	default:
		return fmt.Errorf("%T implements none of sdk.Compute, sdk.Traffic and sdk.Metrics", driver)
	}
	driverv1.RegisterDriverServiceServer(server, &driverServer{impl: driver})
	return nil
}

// NewClient returns the client for a kind: an sdk.Compute, sdk.Traffic or sdk.Metrics.
func NewClient(kind sdk.Kind, conn grpc.ClientConnInterface) (sdk.Driver, error) {
	switch kind {
	case sdk.KindCompute:
		return NewCompute(conn), nil
	case sdk.KindTraffic:
		return NewTraffic(conn), nil
	case sdk.KindMetrics:
		return NewMetrics(conn), nil
	}
	return nil, fmt.Errorf("no such kind of driver: %q", kind)
}

// ServerOptions are the options that every driver's gRPC server needs: the message limit, and panics that
// end one call and not the process.
func ServerOptions(logger hclog.Logger) []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.MaxRecvMsgSize(MaxMessageBytes),
		grpc.MaxSendMsgSize(MaxMessageBytes),
		grpc.ChainUnaryInterceptor(recoverUnary(logger)),
		grpc.ChainStreamInterceptor(recoverStream(logger)),
	}
}

func recoverUnary(logger hclog.Logger) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (resp any, err error) {
		defer recovered(logger, info.FullMethod, &err)
		return handler(ctx, req)
	}
}

func recoverStream(logger hclog.Logger) grpc.StreamServerInterceptor {
	return func(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) (err error) {
		defer recovered(logger, info.FullMethod, &err)
		return handler(srv, stream)
	}
}

// recovered turns a panic into an internal error of the call. It must be deferred directly.
func recovered(logger hclog.Logger, method string, err *error) {
	cause := recover()
	if cause == nil {
		return
	}
	logger.Error("panic in a call", "method", method, "panic", fmt.Sprint(cause), "stack", string(debug.Stack()))
	*err = status.Error(codes.Internal, clip(fmt.Sprintf("the driver panicked in %s: %v (its log has the stack)", method, cause)))
}
