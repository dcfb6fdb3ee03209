package wire

import (
	"errors"
	"io"

	"google.golang.org/grpc"

	"github.com/instarhq/instar/sdk"
	"github.com/instarhq/instar/sdk/wire/driverv1"
)

func (s *computeServer) keeper() (sdk.ArtifactKeeper, error) {
	if keeper, ok := s.impl.(sdk.ArtifactKeeper); ok {
		return keeper, nil
	}
	return nil, sdk.Unsupported("this driver cannot export and import artifacts")
}

// ExportArtifact answers driverv1.ComputeService.
func (s *computeServer) ExportArtifact(req *driverv1.ExportArtifactRequest, stream grpc.ServerStreamingServer[driverv1.ExportArtifactResponse]) error {
	keeper, err := s.keeper()
	if err == nil {
		err = keeper.ExportArtifact(stream.Context(), req.GetDigest(), chunkWriter{stream})
	}
	return toStatus(stream.Context(), err)
}

// ImportArtifact answers driverv1.ComputeService.
func (s *computeServer) ImportArtifact(stream grpc.ClientStreamingServer[driverv1.ImportArtifactRequest, driverv1.ImportArtifactResponse]) error {
	keeper, err := s.keeper()
	if err != nil {
		return toStatus(stream.Context(), err)
	}
	first, err := stream.Recv()
	if errors.Is(err, io.EOF) {
		err = sdk.InvalidConfig("artifact.digest", "the import says nothing of which artifact it is")
	}
	if err == nil {
		err = keeper.ImportArtifact(stream.Context(), first.GetDigest(), &chunkReader{stream: stream, data: first.GetData()})
	}
	if err != nil {
		return toStatus(stream.Context(), err)
	}
	return stream.SendAndClose(&driverv1.ImportArtifactResponse{})
}

// chunkWriter sends what is written, in messages of bounded size.
type chunkWriter struct {
	stream grpc.ServerStreamingServer[driverv1.ExportArtifactResponse]
}

// Write implements io.Writer.
func (w chunkWriter) Write(data []byte) (int, error) {
	for done := 0; done < len(data); {
		part := append([]byte(nil), data[done:min(done+chunk, len(data))]...) // gRPC may hold on to it
		if err := w.stream.Send(&driverv1.ExportArtifactResponse{Data: part}); err != nil {
			return done, err
		}
		done += len(part)
	}
	return len(data), nil
}

// chunkReader reads what is sent. It ends with io.EOF only if the sender says that this is all.
type chunkReader struct {
	stream grpc.ClientStreamingServer[driverv1.ImportArtifactRequest, driverv1.ImportArtifactResponse]
	data   []byte
	err    error
}

// Read implements io.Reader.
func (r *chunkReader) Read(p []byte) (int, error) {
	for len(r.data) == 0 && r.err == nil {
		var message *driverv1.ImportArtifactRequest
		if message, r.err = r.stream.Recv(); r.err == nil {
			r.data = message.GetData()
		}
	}
	if len(r.data) == 0 {
		return 0, r.err
	}
	n := copy(p, r.data)
	r.data = r.data[n:]
	return n, nil
}
