package wire

import (
	"context"
	"errors"
	"io"

	"google.golang.org/grpc"

	"github.com/instarhq/instar/sdk"
	"github.com/instarhq/instar/sdk/wire/driverv1"
)

// chunk is how many bytes of an artifact one message carries.
const chunk = 256 << 10

// Every client is a keeper; of a driver that is none, or does not know of it yet, the answer is Unsupported.
var _ sdk.ArtifactKeeper = (*computeClient)(nil)

// ExportArtifact implements sdk.ArtifactKeeper.
func (c *computeClient) ExportArtifact(ctx context.Context, digest string, w io.Writer) error {
	return drain(ctx, func(ctx context.Context) (grpc.ServerStreamingClient[driverv1.ExportArtifactResponse], error) {
		return c.compute.ExportArtifact(ctx, &driverv1.ExportArtifactRequest{Digest: digest})
	}, func(m *driverv1.ExportArtifactResponse) error {
		_, err := w.Write(m.GetData())
		return err
	})
}

// ImportArtifact implements sdk.ArtifactKeeper. If r fails the call is cancelled, so that the driver does
// not take the part that it has for the whole.
func (c *computeClient) ImportArtifact(ctx context.Context, digest string, r io.Reader) error {
	call, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := c.compute.ImportArtifact(call)
	if err != nil {
		return fromStatus(ctx, err)
	}
	if err := sendChunks(stream, digest, r); err != nil {
		return err
	}
	_, err = stream.CloseAndRecv()
	return fromStatus(ctx, err)
}

// sendChunks sends everything, or as much as the driver wants: what it has to say comes with the answer.
func sendChunks(stream grpc.ClientStreamingClient[driverv1.ImportArtifactRequest, driverv1.ImportArtifactResponse], digest string, r io.Reader) error {
	message := &driverv1.ImportArtifactRequest{Digest: digest}
	for {
		data := make([]byte, chunk) // gRPC may hold on to the one before
		n, err := io.ReadFull(r, data)
		ended := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
		if err != nil && !ended {
			return err
		}
		if message.Data = data[:n]; n > 0 || message.Digest != "" {
			ended = stream.Send(message) != nil || ended
		}
		if ended {
			return nil
		}
		message = &driverv1.ImportArtifactRequest{}
	}
}
