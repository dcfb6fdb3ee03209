package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/agent"
	"github.com/instarhq/instar/core/audit"
	"github.com/instarhq/instar/core/driverhost"
	"github.com/instarhq/instar/core/snapshot/container"
	"github.com/instarhq/instar/sdk"
)

const (
	// keptDir holds the artifacts of a snapshot, DRIVER/HEX, from before the restore until this node's
	// drivers have them.
	keptDir = "artifacts"
	// importEvery is how often an import that failed is tried again.
	importEvery = 10 * time.Second
	// maxExports bounds how many artifacts are read for others at the same time.
	maxExports = 4
)

// artifacts moves what instances run between drivers, snapshots and nodes.
type artifacts struct {
	daemon  *Daemon
	log     hclog.Logger
	exports chan struct{} // slots
	wake    chan struct{} // there is something to import

	mu   sync.Mutex
	kept map[artifactKey]string // files of a restored snapshot that drivers do not have yet
}

type artifactKey struct {
	driver string
	digest core.Digest
}

func (d *Daemon) startArtifacts() error {
	d.artifacts = &artifacts{
		daemon: d, log: d.log.Named("artifacts"), exports: make(chan struct{}, maxExports), wake: make(chan struct{}, 1),
	}
	if err := d.artifacts.load(); err != nil {
		return err
	}
	if d.mesh != nil {
		d.artifacts.serveOthers()
	}
	d.background("artifacts", d.artifacts.run)
	return nil
}

var digestRE = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)

// check refuses what cannot be the name of an artifact: names come from files and from other nodes.
func (k artifactKey) check() error {
	if err := core.CheckName("driver", k.driver); err != nil {
		return err
	}
	if !digestRE.MatchString(string(k.digest)) {
		return core.Errorf(core.CodeInvalid, "%q is no digest of an artifact", k.digest)
	}
	return nil
}

// keepArtifacts keeps the artifacts of a snapshot, and leaves the file at its beginning. It is called before
// the state is restored, so that a crash in between leaves too much, and never too little.
func (d *dataDir) keepArtifacts(file io.ReadSeeker) error {
	r, err := container.Open(file, audit.Trust{})
	if err != nil {
		return err
	}
	defer r.Close()
	for len(r.Manifest.Artifacts) > 0 {
		a, content, err := r.Artifact()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			err = d.keepArtifact(artifactKey{a.Driver, a.Digest}, content)
		}
		if err != nil {
			return fmt.Errorf("artifact %s of the snapshot: %w", a.Digest, err)
		}
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	return nil
}

func (d *dataDir) keepArtifact(key artifactKey, content io.Reader) error {
	if err := key.check(); err != nil {
		return err
	}
	dir := filepath.Join(d.file(keptDir), key.driver)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	temp, err := os.CreateTemp(dir, ".new-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(temp.Name()) }() // gone already if all went well
	_, err = io.Copy(temp, content)
	if err := errors.Join(err, temp.Sync(), temp.Close()); err != nil {
		return err
	}
	if err := os.Rename(temp.Name(), filepath.Join(dir, strings.TrimPrefix(string(key.digest), "sha256:"))); err != nil {
		return err
	}
	return syncDirs(dir, d.file(keptDir), d.path)
}

func syncDirs(paths ...string) error {
	for _, path := range paths {
		dir, err := os.Open(path)
		if err != nil {
			return err
		}
		if err := errors.Join(dir.Sync(), dir.Close()); err != nil {
			return err
		}
	}
	return nil
}

// load finds the kept files.
func (a *artifacts) load() error {
	found := map[artifactKey]string{}
	root := a.daemon.dir.file(keptDir)
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		key := artifactKey{filepath.Base(filepath.Dir(path)), core.Digest("sha256:" + entry.Name())}
		if key.check() != nil {
			return os.Remove(path) // half written when a crash came; the restore is repeated
		}
		found[key] = path
		return nil
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("artifacts of a restored snapshot: %w", err)
	}
	a.mu.Lock()
	a.kept = found
	a.mu.Unlock()
	select {
	case a.wake <- struct{}{}:
	default:
	}
	return nil
}

// run hands the kept artifacts to the drivers of this node. What it has no driver for stays for the nodes
// that have one, as long as a service needs it.
func (a *artifacts) run(ctx context.Context) error {
	tick := time.NewTicker(importEvery)
	defer tick.Stop()
	refused := map[artifactKey]bool{} // what a driver does not take: the next daemon may
	for {
		for _, key := range a.waiting() {
			if refused[key] {
				continue
			}
			if err := a.handOver(ctx, key); err != nil && ctx.Err() == nil {
				refused[key] = sdk.CodeOf(err) == sdk.CodeInvalidConfig || sdk.CodeOf(err) == sdk.CodeUnsupported
				a.log.Warn("an artifact of the restored snapshot is not imported", "driver", key.driver, "artifact", key.digest,
					"trying_again", !refused[key], "error", err)
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-a.wake:
		case <-tick.C:
		}
	}
}

func (a *artifacts) waiting() []artifactKey {
	a.mu.Lock()
	defer a.mu.Unlock()
	keys := make([]artifactKey, 0, len(a.kept))
	for key := range a.kept {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, func(x, y artifactKey) int {
		return cmp.Or(strings.Compare(x.driver, y.driver), strings.Compare(string(x.digest), string(y.digest)))
	})
	return keys
}

// handOver imports one kept artifact into every target of its driver, and lets go of the file then.
func (a *artifacts) handOver(ctx context.Context, key artifactKey) error {
	targets := a.targets(key.driver)
	if len(targets) == 0 && a.needed(key) {
		return nil
	}
	for _, target := range targets {
		keeper, err := a.keeper(key.driver, target)
		if err == nil {
			err = a.importKept(ctx, keeper, key)
		}
		if err != nil {
			return err
		}
		a.log.Info("imported from the restored snapshot", "driver", key.driver, "target", target, "artifact", key.digest)
	}
	a.mu.Lock()
	path := a.kept[key]
	delete(a.kept, key)
	a.mu.Unlock()
	return os.Remove(path)
}

func (a *artifacts) needed(key artifactKey) bool {
	_, needed := agent.Artifacts(a.daemon.state.View())[key.driver][key.digest]
	return needed
}

// importKept imports a kept file; CodeNotFound if there is none.
func (a *artifacts) importKept(ctx context.Context, keeper sdk.ArtifactKeeper, key artifactKey) error {
	file, err := a.openKept(key)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }() // only read
	return keeper.ImportArtifact(ctx, string(key.digest), file)
}

func (a *artifacts) openKept(key artifactKey) (*os.File, error) {
	a.mu.Lock()
	path, ok := a.kept[key]
	a.mu.Unlock()
	if ok {
		file, err := os.Open(path)
		if !errors.Is(err, fs.ErrNotExist) {
			return file, err
		}
	}
	return nil, sdk.NotFound("artifact %s is in no restored snapshot that this node keeps", key.digest)
}

// targets are the names of this node's targets of a compute driver.
func (a *artifacts) targets(driver string) []string {
	var names []string
	for _, t := range a.daemon.host.Targets() {
		if t.Kind == core.DriverCompute && t.Driver == driver {
			names = append(names, t.Name)
		}
	}
	return names
}

func (a *artifacts) keeper(driver, target string) (sdk.ArtifactKeeper, error) {
	client, err := a.daemon.host.Compute(driver, target)
	if err != nil {
		return nil, err
	}
	return keeperOf(client, driver)
}

func keeperOf(client sdk.Compute, driver string) (sdk.ArtifactKeeper, error) {
	if keeper, ok := client.(sdk.ArtifactKeeper); ok {
		return keeper, nil
	}
	return nil, sdk.Unsupported("driver %s cannot export and import artifacts", driver)
}

// Needed implements snapshot.Artifacts.
func (a *artifacts) Needed() []core.SnapshotArtifact {
	var needed []core.SnapshotArtifact
	for driver, list := range agent.Artifacts(a.daemon.state.View()) {
		for digest := range list {
			needed = append(needed, core.SnapshotArtifact{Driver: driver, Digest: digest})
		}
	}
	slices.SortFunc(needed, func(x, y core.SnapshotArtifact) int {
		return cmp.Or(strings.Compare(x.Driver, y.Driver), strings.Compare(string(x.Digest), string(y.Digest)))
	})
	return needed
}

// Export implements snapshot.Artifacts: from this node's driver, which fetches it first if it has to, or
// else from another node's.
func (a *artifacts) Export(ctx context.Context, driver string, digest core.Digest, w io.Writer) error {
	key := artifactKey{driver, digest}
	out := &counted{w: w}
	err := a.export(ctx, key, out)
	if out.n > 0 || !elsewhere(err) {
		return driverhost.Error(err)
	}
	for _, target := range a.targets(driver) {
		client, openErr := artifactHost{a.daemon.host, a}.Compute(driver, target)
		if openErr != nil {
			continue
		}
		artifact := agent.Artifacts(a.daemon.state.View())[driver][digest]
		if err = client.Fetch(ctx, driverhost.Artifact(artifact), nil); err == nil {
			return driverhost.Error(a.export(ctx, key, out))
		}
	}
	if len(a.targets(driver)) > 0 {
		return driverhost.Error(err)
	}
	return driverhost.Error(a.fromOthers(ctx, key, func(r io.Reader) error {
		_, err := io.Copy(out, r)
		return err
	}))
}

// export writes what this node has of an artifact; NotFound, and nothing is written, if it has none.
func (a *artifacts) export(ctx context.Context, key artifactKey, w *counted) error {
	if file, err := a.openKept(key); err == nil {
		defer func() { _ = file.Close() }() // only read
		_, err := io.Copy(w, file)
		return err
	}
	err := sdk.NotFound("this node has no driver %s", key.driver)
	for _, target := range a.targets(key.driver) {
		var keeper sdk.ArtifactKeeper
		if keeper, err = a.keeper(key.driver, target); err == nil {
			err = keeper.ExportArtifact(ctx, string(key.digest), w)
		}
		if err == nil || w.n > 0 {
			return err
		}
	}
	return err
}

// counted tells whether anything has been written.
type counted struct {
	w io.Writer
	n int64
}

// Write implements io.Writer.
func (c *counted) Write(data []byte) (int, error) {
	n, err := c.w.Write(data)
	c.n += int64(n)
	return n, err
}
