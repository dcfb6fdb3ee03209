package sdk

import (
	"context"
	"io"
)

// ArtifactKeeper is an optional part of a Compute driver, declared as CapArtifacts: artifacts can be taken
// out of the driver and put into another process of it. Snapshots carry them, and nodes that cannot reach
// an artifact's source get it from one that has it.
//
// What is exported is the driver's own form, and the same bytes each time. It must prove by itself what it
// is: an import finds out from the bytes alone whether they are what the digest names.
type ArtifactKeeper interface {
	// ExportArtifact writes an artifact that is ready here; NotFound, before anything is written, if it is
	// not. What was written counts only if it returns nil.
	ExportArtifact(ctx context.Context, digest string, w io.Writer) error
	// ImportArtifact reads what ExportArtifact has written and makes the artifact ready, as Fetch does,
	// though its source may be gone. It refuses everything that Fetch would refuse, and bytes that are not
	// the artifact (InvalidConfig); then nothing is kept. Idempotent: an artifact that is ready already may
	// be left as it is, and r unread.
	ImportArtifact(ctx context.Context, digest string, r io.Reader) error
}
