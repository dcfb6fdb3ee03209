package snapshot

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/snapshot/container"
)

// State writes the whole state of a moment, and says which.
type State interface {
	Snapshot(ctx context.Context, w io.Writer) (core.TreeHead, error)
}

// Artifacts exports what drivers run.
type Artifacts interface {
	// Needed lists the artifacts that revisions in use run, in no order.
	Needed() []core.SnapshotArtifact
	// Export writes one in the form that the driver's import reads; CodeUnsupported if it cannot.
	Export(ctx context.Context, driver string, digest core.Digest, w io.Writer) error
}

// Maker makes snapshot files.
type Maker struct {
	State     State
	Artifacts Artifacts // nil: none are ever included
	Signers   []note.Signer
	Keys      []string // the signers' public keys
	TempDir   string   // parts are collected there first; it needs room for all of them
	Manifest  func() core.Manifest
	Now       func() time.Time
}

// Write makes a snapshot of now. progress, if not nil, is told what is being done.
func (m *Maker) Write(ctx context.Context, w io.Writer, withArtifacts bool, progress func(string)) (core.Manifest, error) {
	if progress == nil {
		progress = func(string) {}
	}
	if err := os.MkdirAll(m.TempDir, 0o700); err != nil {
		return core.Manifest{}, fmt.Errorf("snapshot: %w", err)
	}
	dir, err := os.MkdirTemp(m.TempDir, "snapshot-")
	if err != nil {
		return core.Manifest{}, fmt.Errorf("snapshot: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()

	manifest := m.Manifest()
	manifest.Format, manifest.Created, manifest.Keys = core.Format, m.Now().UTC().Round(0), m.Keys
	progress("collecting the state")
	manifest.State, err = spool(filepath.Join(dir, "state"), func(w io.Writer) error {
		manifest.Head, err = m.State.Snapshot(ctx, w)
		return err
	})
	if err != nil {
		return manifest, fmt.Errorf("snapshot: %w", err)
	}
	var files []string
	if withArtifacts && m.Artifacts != nil {
		if files, err = m.collect(ctx, dir, &manifest, progress); err != nil {
			return manifest, err
		}
	}
	progress("writing")
	err = container.Write(ctx, w, &manifest, m.Signers, filepath.Join(dir, "state"), files)
	return manifest, err
}

// collect exports the artifacts. One that cannot be had is noted, and no reason to have no snapshot.
func (m *Maker) collect(ctx context.Context, dir string, manifest *core.Manifest, progress func(string)) ([]string, error) {
	var files []string
	for _, a := range m.Artifacts.Needed() {
		progress("collecting artifact " + string(a.Digest))
		file := filepath.Join(dir, fmt.Sprintf("artifact-%d", len(files)))
		part, err := spool(file, func(w io.Writer) error { return m.Artifacts.Export(ctx, a.Driver, a.Digest, w) })
		if ctx.Err() != nil {
			return nil, fmt.Errorf("snapshot: %w", ctx.Err())
		}
		if err != nil {
			manifest.Missing = append(manifest.Missing, core.MissingArtifact{Driver: a.Driver, Digest: a.Digest, Reason: err.Error()})
			_ = os.Remove(file)
			continue
		}
		a.Part = part
		manifest.Artifacts = append(manifest.Artifacts, a)
		files = append(files, file)
	}
	return files, nil
}

// spool writes a part to a file and measures it.
func spool(path string, write func(io.Writer) error) (core.Part, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return core.Part{}, err
	}
	sum := sha256.New()
	counted := &counter{w: io.MultiWriter(f, sum)}
	err = write(counted)
	if closing := f.Close(); err == nil {
		err = closing
	}
	return core.Part{Bytes: counted.n, Digest: core.Digest("sha256:" + hex.EncodeToString(sum.Sum(nil)))}, err
}

type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(data []byte) (int, error) {
	n, err := c.w.Write(data)
	c.n += int64(n)
	return n, err
}
