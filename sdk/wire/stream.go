package wire

import (
	"context"
	"errors"
	"io"

	"google.golang.org/grpc"
)

// drain hands every message of a server stream to a callback and returns when the driver ends the
// stream. An error of the callback ends the call and is returned as it is.
func drain[M any](ctx context.Context, open func(context.Context) (grpc.ServerStreamingClient[M], error), each func(*M) error) error {
	call, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := open(call)
	if err != nil {
		return fromStatus(ctx, err)
	}
	for {
		message, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			// A driver that returns nil because the context ended must look as one that returned its error.
			return ctx.Err()
		}
		if err != nil {
			return fromStatus(ctx, err)
		}
		if err := each(message); err != nil {
			return err
		}
	}
}
