package process

import (
	"context"
	"io"
	"time"

	"github.com/instarhq/instar/plugins/compute/process/artifact"
	"github.com/instarhq/instar/sdk"
)

// resolve pins an artifact. A service without one, whose program is on the node, has nothing to pin.
func (t *target) resolve(ctx context.Context, a sdk.Artifact) (sdk.Artifact, error) {
	if a.Source == "" {
		if a.Checksum != "" {
			return sdk.Artifact{}, sdk.InvalidConfig("artifact.source", "a checksum is given, and no source")
		}
		return a, nil
	}
	digest, err := t.store.Ingest(ctx, artifact.Ref{Source: a.Source, Checksum: a.Checksum}, nil)
	a.Digest = digest
	return a, err
}

func (t *target) fetch(ctx context.Context, a sdk.Artifact, progress func(sdk.FetchProgress)) error {
	if a == (sdk.Artifact{}) {
		return nil
	}
	var report artifact.Progress
	if progress != nil {
		report = func(done, total int64) { progress(sdk.FetchProgress{Done: done, Total: total}) }
	}
	_, err := t.store.Tree(ctx, artifact.Ref(a), report)
	return err
}

// tree makes an instance's artifact ready; the zero Tree if it has none.
func (t *target) tree(ctx context.Context, a sdk.Artifact) (artifact.Tree, error) {
	if a == (sdk.Artifact{}) {
		return artifact.Tree{}, nil
	}
	return t.store.Tree(ctx, artifact.Ref(a), nil)
}

// ExportArtifact implements sdk.ArtifactKeeper.
func (d *Driver) ExportArtifact(ctx context.Context, digest string, w io.Writer) error {
	t, err := d.bound()
	if err != nil {
		return err
	}
	ctx, done, err := t.begin(ctx)
	if err != nil {
		return err
	}
	defer done()
	return t.store.Export(ctx, digest, w)
}

// ImportArtifact implements sdk.ArtifactKeeper.
func (d *Driver) ImportArtifact(ctx context.Context, digest string, r io.Reader) error {
	t, err := d.bound()
	if err != nil {
		return err
	}
	ctx, done, err := t.begin(ctx)
	if err != nil {
		return err
	}
	defer done()
	return t.store.Import(ctx, digest, r)
}

func (t *target) prune(keep []string) (int64, error) {
	if err := t.pruneTombstones(time.Now()); err != nil {
		return 0, err
	}
	// No instance is being recorded meanwhile: one that is has a tree that nobody is seen to use.
	t.inUse.Lock()
	defer t.inUse.Unlock()
	var used []string
	for _, i := range t.all() {
		if i.rec.Tree != "" {
			used = append(used, i.rec.Tree)
		}
	}
	return t.store.Prune(keep, used)
}
