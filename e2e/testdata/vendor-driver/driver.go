package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/zclconf/go-cty/cty"

	"github.com/instarhq/instar/sdk"
)

var workload = sdk.Schema{
	{Name: "title", Type: cty.String, Default: cty.StringVal(""), Doc: "What stands above the text."},
}

// driver keeps its instances in files of the state directory, so that the next process finds them.
type driver struct {
	mu         sync.Mutex
	dir        string // empty until configured
	generation uint64
	instances  map[string]*instance
	watchers   map[chan sdk.Instance]bool
}

// Describe implements sdk.Driver.
func (d *driver) Describe(context.Context) (sdk.Description, error) {
	return sdk.Description{
		Name: "pages", Version: "0.1.0", Kind: sdk.KindCompute, Scope: sdk.ScopeNode,
		Doc: "Shows a text file as a web page, from inside the driver.", Workload: workload,
	}, nil
}

// Configure implements sdk.Driver: it finds what an earlier process has left, and serves it again.
func (d *driver) Configure(_ context.Context, req sdk.ConfigureRequest) error {
	if err := sdk.Decode(nil, req.Config, &struct{}{}); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if req.Generation < d.generation {
		return sdk.Conflict("generation %d is older than %d, which was seen before", req.Generation, d.generation)
	}
	d.generation = req.Generation
	if d.dir == req.StateDir {
		return nil
	}
	for _, folder := range []string{"instances", "artifacts", "destroyed"} {
		if err := os.MkdirAll(filepath.Join(req.StateDir, folder), 0o700); err != nil {
			return err
		}
	}
	d.dir = req.StateDir
	return d.resume()
}

// Probe implements sdk.Driver.
func (d *driver) Probe(ctx context.Context, report func(sdk.Health) error) error {
	if err := report(sdk.Health{Healthy: true}); err != nil {
		return err
	}
	<-ctx.Done()
	return ctx.Err()
}

// Resolve implements sdk.Compute: the digest is the file's.
func (d *driver) Resolve(_ context.Context, a sdk.Artifact) (sdk.Artifact, error) {
	data, err := os.ReadFile(a.Source)
	if errors.Is(err, fs.ErrNotExist) {
		return a, sdk.NotFound("%q does not exist", a.Source)
	}
	if err != nil {
		return a, err
	}
	sum := sha256.Sum256(data)
	a.Digest = "sha256:" + hex.EncodeToString(sum[:])
	if a.Checksum != "" && a.Checksum != a.Digest {
		return a, sdk.InvalidConfig("artifact.checksum", "%s has digest %s", a.Source, a.Digest)
	}
	return a, nil
}

// Fetch implements sdk.Compute: it keeps a copy under the digest.
func (d *driver) Fetch(ctx context.Context, a sdk.Artifact, progress func(sdk.FetchProgress)) error {
	if _, err := os.Stat(d.artifact(a.Digest)); err == nil {
		return nil
	}
	now, err := d.Resolve(ctx, sdk.Artifact{Source: a.Source})
	if err != nil {
		return err
	}
	if now.Digest != a.Digest {
		return sdk.Conflict("%s has changed since it was pinned: it has digest %s, not %s", a.Source, now.Digest, a.Digest)
	}
	data, err := os.ReadFile(a.Source)
	if err != nil {
		return err
	}
	if progress != nil {
		progress(sdk.FetchProgress{Done: int64(len(data)), Total: int64(len(data))})
	}
	return write(d.artifact(a.Digest), data)
}

func (d *driver) artifact(digest string) string { return filepath.Join(d.dir, "artifacts", digest) }

// write replaces a file as a whole: written, synced, renamed.
func write(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return os.Rename(f.Name(), path)
}

// Watch implements sdk.Compute.
func (d *driver) Watch(ctx context.Context, event func(sdk.Instance) error) error {
	changes := make(chan sdk.Instance, 1024)
	d.mu.Lock()
	d.watchers[changes] = true
	var now []sdk.Instance
	for _, i := range d.instances {
		now = append(now, i.Instance)
	}
	d.mu.Unlock()
	defer func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(d.watchers, changes)
	}()
	for _, i := range now {
		if err := event(i); err != nil {
			return err
		}
	}
	for {
		select {
		case i := <-changes:
			if err := event(i); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Logs implements sdk.Compute.
func (d *driver) Logs(context.Context, string, sdk.LogOptions, func(sdk.LogLine) error) error {
	return sdk.Unsupported("pages write no logs")
}

// Usage implements sdk.Compute.
func (d *driver) Usage(context.Context, time.Duration, func([]sdk.Usage) error) error {
	return sdk.Unsupported("pages use nothing worth measuring")
}

// Prune implements sdk.Compute.
func (d *driver) Prune(_ context.Context, keep []string) (int64, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	used := map[string]bool{}
	for _, digest := range keep {
		used[digest] = true
	}
	for _, i := range d.instances {
		used[i.Artifact] = true
	}
	entries, err := os.ReadDir(filepath.Join(d.dir, "artifacts"))
	var freed int64
	for _, entry := range entries {
		if used[entry.Name()] {
			continue
		}
		if info, statErr := entry.Info(); statErr == nil {
			freed += info.Size()
		}
		err = errors.Join(err, os.Remove(d.artifact(entry.Name())))
	}
	return freed, err
}
