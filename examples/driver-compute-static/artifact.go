package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/instarhq/instar/sdk"
)

// Resolve pins a directory by a digest of all that is in it.
func (d *driver) Resolve(ctx context.Context, a sdk.Artifact) (sdk.Artifact, error) {
	var err error
	if a.Digest, err = digestTree(ctx, a.Source); err != nil {
		return a, err
	}
	if a.Checksum != "" && a.Checksum != a.Digest {
		return a, sdk.InvalidConfig("artifact.checksum", "%s has %s", a.Source, a.Digest)
	}
	return a, nil
}

// Fetch copies the directory to where nobody changes it, under its digest. What changed since Resolve has
// another digest, and is refused: an instance runs what was pinned, or nothing.
func (d *driver) Fetch(ctx context.Context, a sdk.Artifact, progress func(sdk.FetchProgress)) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	final := d.store.artifact(a.Digest)
	if _, err := os.Stat(final); err == nil {
		return nil
	}
	temporary, err := os.MkdirTemp(filepath.Dir(final), ".new-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(temporary) }() // after the rename there is nothing left of it
	if err := os.CopyFS(temporary, os.DirFS(a.Source)); err != nil {
		return fmt.Errorf("copying %s: %w", a.Source, err)
	}
	got, err := digestTree(ctx, temporary)
	if err != nil {
		return err
	}
	if got != a.Digest {
		return sdk.Conflict("%s has changed since it was pinned: it is %s now, and was %s", a.Source, got, a.Digest)
	}
	if progress != nil {
		progress(sdk.FetchProgress{Done: 1, Total: 1})
	}
	return os.Rename(temporary, final)
}

// Prune removes what no instance uses.
func (d *driver) Prune(_ context.Context, keep []string) (int64, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, r := range d.store.records {
		if !r.Destroyed {
			keep = append(keep, r.Spec.Artifact.Digest)
		}
	}
	entries, err := os.ReadDir(filepath.Dir(d.store.artifact("x")))
	if err != nil {
		return 0, err
	}
	var freed int64
	for _, e := range entries {
		if slices.Contains(keep, "sha256:"+e.Name()) {
			continue
		}
		path := d.store.artifact("sha256:" + e.Name())
		err := filepath.WalkDir(path, func(_ string, e fs.DirEntry, err error) error {
			if err != nil || !e.Type().IsRegular() {
				return err
			}
			info, err := e.Info()
			if err == nil {
				freed += info.Size()
			}
			return err
		})
		if err := errors.Join(err, os.RemoveAll(path)); err != nil {
			return freed, err
		}
	}
	return freed, nil
}

// digestTree digests names and contents in a fixed order. Links and other special files are refused: they
// could lead out of the tree.
func digestTree(ctx context.Context, dir string) (string, error) {
	hash := sha256.New()
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil || (e.IsDir() && path != dir) {
			return err
		}
		if path == dir {
			if !e.IsDir() {
				return sdk.InvalidConfig("artifact.source", "%s is no directory", dir)
			}
			return nil
		}
		if !e.Type().IsRegular() {
			return sdk.InvalidConfig("artifact.source", "%s is neither a file nor a directory", path)
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		return digestFile(hash, name, path)
	})
	if errors.Is(err, fs.ErrNotExist) {
		return "", sdk.NotFound("artifact %s: %w", dir, err)
	}
	return "sha256:" + hex.EncodeToString(hash.Sum(nil)), err
}

// digestFile adds one file: its name, its size, which tells where the content ends, and its content.
func digestFile(hash io.Writer, name, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // read only
	info, err := f.Stat()
	if err != nil {
		return err
	}
	fmt.Fprintf(hash, "%q %d\n", name, info.Size())
	_, err = io.Copy(hash, f)
	return err
}
