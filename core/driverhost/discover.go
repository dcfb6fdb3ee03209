package driverhost

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/sdk"
	"github.com/instarhq/instar/sdk/launch"
)

// discoverers is how many binaries are described at a time: each is a short-lived process.
const discoverers = 4

// Problem is a binary that cannot be used, and why.
type Problem struct { //nolint:errname // a finding about a file first, and an error by the way
	Path string
	Err  error
}

// Error tells the problem; it names the file.
func (p Problem) Error() string { return fmt.Sprintf("driver %s: %v", p.Path, p.Err) }

// Unwrap returns the reason.
func (p Problem) Unwrap() error { return p.Err }

// Discover looks for drivers in all plugin directories and describes those that may be used, sorted by kind
// and name. A bad one is a Problem and does not keep the others from being found. A binary is launched only
// if its description is not known yet, by its digest.
func (h *Host) Discover(ctx context.Context) ([]core.Driver, []Problem) {
	files, problems := h.scan()
	drivers := make([]*core.Driver, len(files))
	failed := make([]error, len(files))
	slots := make(chan struct{}, discoverers)
	var group sync.WaitGroup
	for i, f := range files {
		group.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			drivers[i], failed[i] = h.describe(ctx, f)
		})
	}
	group.Wait()
	found := []core.Driver{}
	for i := range files {
		if failed[i] != nil {
			problems = append(problems, Problem{files[i].path, failed[i]})
			continue
		}
		found = append(found, *drivers[i])
	}
	h.mu.Lock()
	h.drivers = found
	h.mu.Unlock()
	h.notify()
	return slices.Clone(found), problems
}

// file is a binary that is named as a driver.
type file struct {
	kind core.DriverKind
	name string
	path string
}

// scan lists the binaries by kind and name; of several with one name the first directory's counts.
func (h *Host) scan() ([]file, []Problem) {
	var problems []Problem
	seen := map[string]file{}
	for _, dir := range h.cfg.PluginDirs {
		entries, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			problems = append(problems, Problem{dir, err})
		}
		for _, e := range entries {
			kind, name, ok := parseName(e.Name())
			if _, taken := seen[e.Name()]; !ok || taken {
				continue
			}
			path, err := filepath.Abs(filepath.Join(dir, e.Name()))
			if err == nil {
				err = checkExecutable(path)
			}
			if err != nil {
				problems = append(problems, Problem{filepath.Join(dir, e.Name()), err})
				continue
			}
			seen[e.Name()] = file{kind, name, path}
		}
	}
	files := make([]file, 0, len(seen))
	for _, f := range seen {
		files = append(files, f)
	}
	slices.SortFunc(files, func(a, b file) int { return strings.Compare(binaryName(a.kind, a.name), binaryName(b.kind, b.name)) })
	return files, problems
}

// parseName reads instar-KIND-NAME. Anything else is no driver and none of our business.
func parseName(name string) (core.DriverKind, string, bool) {
	for _, kind := range kinds {
		if driver, ok := strings.CutPrefix(name, binaryName(kind, "")); ok && core.CheckName("driver", driver) == nil {
			return kind, driver, true
		}
	}
	return "", "", false
}

func checkExecutable(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() || info.Mode().Perm()&0o111 == 0 {
		return core.Errorf(core.CodeInvalid, "it is no executable file (%s)", info.Mode())
	}
	if info.Mode().Perm()&0o002 != 0 {
		return core.Errorf(core.CodeDenied, "anybody may write to it (%s)", info.Mode()).WithHint("chmod o-w %s", path)
	}
	return nil
}

// locate finds the binary of a driver and its digest.
func (h *Host) locate(kind core.DriverKind, driver string) (image, error) {
	name := binaryName(kind, driver)
	for _, dir := range h.cfg.PluginDirs {
		path, err := filepath.Abs(filepath.Join(dir, name))
		if err != nil {
			return image{}, err
		}
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err := checkExecutable(path); err != nil {
			return image{}, fmt.Errorf("driver %s: %w", path, err)
		}
		return h.images.read(path)
	}
	return image{}, core.Errorf(core.CodeNotFound, "there is no %s in %s", name, strings.Join(h.cfg.PluginDirs, ", ")).
		WithHint("install the driver, or add its directory to the plugin directories")
}

// accepted is locate for a binary that is about to be launched: the lock file must know it.
func (h *Host) accepted(kind core.DriverKind, driver string) (image, error) {
	img, err := h.locate(kind, driver)
	if err != nil {
		return image{}, err
	}
	if h.cfg.AutoLock {
		if err := h.lock.LockNew(img.path, img.digest); err != nil {
			return image{}, err
		}
	}
	return img, h.lock.Check(img.path, img.digest)
}

// describe returns the description of a binary from the cache, or launches it once to ask.
func (h *Host) describe(ctx context.Context, f file) (*core.Driver, error) {
	img, err := h.accepted(f.kind, f.name)
	if err != nil {
		return nil, err
	}
	cache := filepath.Join(h.cfg.StateDir, "descriptions")
	entry := filepath.Join(cache, strings.TrimPrefix(string(img.digest), "sha256:")+".json")
	var d core.Driver
	// A description is only a cache: an entry that cannot be read is made again.
	if err := readJSON(entry, &d); err != nil || d.Format != core.Format || d.Kind != f.kind || d.Name != f.name {
		if d, err = h.ask(ctx, f, img); err != nil {
			return nil, err
		}
		if err := errors.Join(os.MkdirAll(cache, 0o700), writeJSON(entry, d)); err != nil {
			h.log.Warn("remembering a description", "error", err)
		}
	}
	d = h.identified(d, img.path, img.digest)
	return &d, nil
}

// ask launches a binary only to describe itself.
func (h *Host) ask(ctx context.Context, f file, img image) (core.Driver, error) {
	root := filepath.Join(h.cfg.StateDir, "describing")
	if err := os.MkdirAll(root, 0o700); err != nil {
		return core.Driver{}, err
	}
	dir, err := newLaunchDir(root)
	if err != nil {
		return core.Driver{}, err
	}
	defer func() { _ = os.RemoveAll(dir) }() // only keys and a log of a process that is gone
	proc, err := launch.Start(ctx, launch.Options{
		Path: img.path, Dir: dir, SocketDir: h.sockets, Log: filepath.Join(dir, "log"),
		Env: launch.Environment(h.cfg.Logger.GetLevel()), Timeout: h.timing.handshake, Logger: h.log.Named("plugin"),
	})
	if err != nil {
		return core.Driver{}, err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := proc.Stop(ctx); err != nil {
			h.log.Error("ending a process that was only to describe itself", "error", err)
		}
	}()
	driver, err := proc.Driver(sdk.Kind(f.kind))
	if err != nil {
		return core.Driver{}, err
	}
	desc, err := describe(ctx, driver, f.kind, f.name, h.timing.describe)
	if err != nil {
		return core.Driver{}, err
	}
	return Driver(desc, proc.State().Protocol)
}
