package sdktest_test

import (
	"context"
	"io"
	"slices"
	"strings"

	"github.com/instarhq/instar/sdk"
)

var _ sdk.ArtifactKeeper = (*soundCompute)(nil)

// Resolve implements sdk.Compute.
func (d *soundCompute) Resolve(_ context.Context, a sdk.Artifact) (sdk.Artifact, error) {
	if a.Source == "" {
		return a, sdk.InvalidConfig("artifact.source", "it is empty")
	}
	if missing(a) {
		if d.is("calls a missing source internal") {
			return a, errPlain
		}
		return a, sdk.NotFound("there is no %s", a.Source)
	}
	a.Digest = sum(a.Source)
	if d.is("resolves anew each time") {
		a.Digest = sum(a.Source + newTime())
	}
	if a.Checksum != "" && a.Checksum != a.Digest && !d.is("ignores the checksum") {
		return a, sdk.InvalidConfig("artifact.checksum", "%s has %s", a.Source, a.Digest)
	}
	return a, nil
}

func missing(a sdk.Artifact) bool { return strings.HasSuffix(a.Source, "missing") }

// Fetch implements sdk.Compute. An artifact's content is the name of its source.
func (d *soundCompute) Fetch(_ context.Context, a sdk.Artifact, progress func(sdk.FetchProgress)) error {
	if _, there := d.world.artifact(a.Digest); there {
		if d.is("fetch is not idempotent") {
			return sdk.Conflict("%s is there already", a.Digest)
		}
	} else if missing(a) {
		return sdk.NotFound("there is no %s", a.Source)
	}
	d.world.keep(a.Digest, a.Source)
	if progress != nil {
		progress(sdk.FetchProgress{Done: 1, Total: 1})
	}
	return nil
}

// Prune implements sdk.Compute.
func (d *soundCompute) Prune(ctx context.Context, keep []string) (int64, error) {
	if err := d.call(ctx); err != nil {
		return 0, err
	}
	for _, t := range d.world.of("*") {
		own := t.spec.Cluster == d.cluster
		if d.is("prunes what is in use") && own || d.is("prunes another cluster's instances") && !own {
			d.world.remove(t.name)
			continue
		}
		keep = append(keep, t.spec.Artifact.Digest)
	}
	return d.world.drop(keep), nil
}

// ExportArtifact implements sdk.ArtifactKeeper.
func (d *soundCompute) ExportArtifact(_ context.Context, digest string, w io.Writer) error {
	data, there := d.world.artifact(digest)
	if d.is("writes before it looks for an artifact") {
		data = "artifact " + data
	}
	if d.is("exports another one each time") {
		data += newTime()
	}
	if !there && d.is("exports nothing for what it does not have") {
		return nil
	}
	if there || data != "" {
		if _, err := io.WriteString(w, data); err != nil {
			return err
		}
	}
	if !there {
		return sdk.NotFound("there is no artifact %s", digest)
	}
	return nil
}

// ImportArtifact implements sdk.ArtifactKeeper.
func (d *soundCompute) ImportArtifact(_ context.Context, digest string, r io.Reader) error {
	if _, there := d.world.artifact(digest); there && d.is("import is not idempotent") {
		return sdk.Conflict("%s is there already", digest)
	}
	data, err := io.ReadAll(r)
	if d.is("keeps what it refuses to import") {
		d.world.keep(digest, string(data))
	}
	if err != nil {
		return err
	}
	if sum(string(data)) != digest && d.is("calls a wrong artifact internal") {
		return errPlain
	}
	if sum(string(data)) != digest && !d.is("imports what is not the artifact") {
		return sdk.InvalidConfig("artifact", "it is not %s", digest)
	}
	if !d.is("an import is of no use") {
		d.world.keep(digest, string(data))
	}
	return nil
}

// artifact, keep and drop are the world's store of artifacts.
func (w *world) artifact(digest string) (data string, there bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	data, there = w.artifacts[digest]
	return data, there
}

func (w *world) keep(digest, data string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, there := w.artifacts[digest]; !there {
		w.artifacts[digest] = data
	}
}

func (w *world) drop(keep []string) (freed int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for digest, data := range w.artifacts {
		if !slices.Contains(keep, digest) {
			delete(w.artifacts, digest)
			freed += int64(len(data))
		}
	}
	return freed
}
