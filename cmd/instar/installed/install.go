package installed

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/driverhost/lockfile"
	"github.com/instarhq/instar/sdk"
	"github.com/instarhq/instar/sdk/launch"
)

// Request says what to install.
type Request struct {
	Source  string // path or URL of the binary
	SHA256  string // hex digits that it must have, with or without sha256: before them; empty: any
	Upgrade bool   // replace a different binary of the same name
}

// Outcome is what an installation came to.
type Outcome struct {
	lockfile.Installation
	Replaced string `json:"replaced,omitempty"` // the version before, if there was another one
	Already  bool   `json:"already"`            // it was there, and nothing has changed
	Searched bool   `json:"searched"`           // instard looks into the directory
}

// describeGrace is what a binary gets to end after it has described itself.
const describeGrace = 5 * time.Second

// Install copies a binary into the driver directory and accepts it. It is launched once, to describe itself, after
// its digest was checked, and in the place that it is going to have: what cannot run there is not installed.
func (m Machine) Install(ctx context.Context, r Request) (Outcome, error) {
	if err := m.check(); err != nil {
		return Outcome{}, err
	}
	want, err := digestOf(r.SHA256)
	if err != nil {
		return Outcome{}, err
	}
	source, err := open(ctx, r.Source, want)
	if err != nil {
		return Outcome{}, err
	}
	dir, err := m.dir()
	if err != nil {
		return Outcome{}, errors.Join(err, source.Close())
	}
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // drivers are no secret, and other users' instards may run them
		return Outcome{}, errors.Join(fmt.Errorf("driver directory: %w", err), source.Close())
	}
	copied, err := copyTo(dir, source)
	if err != nil {
		return Outcome{}, fmt.Errorf("copy %s: %w", r.Source, err)
	}
	defer func() { _ = os.Remove(copied.path) }() // after the installation it is not there any more
	if want != "" && copied.digest != want {
		return Outcome{}, core.Errorf(core.CodeConflict, "%s is not what was asked for: it has %s, not %s", r.Source, copied.digest, want).
			WithHint("nothing was run or installed; compare with what the vendor publishes")
	}
	i, err := describe(ctx, copied.path, r.Source)
	if err != nil {
		return Outcome{}, err
	}
	i.Path, i.Digest, i.Size = filepath.Join(dir, i.fileName()), copied.digest, copied.size
	i.Origin, i.At = source.origin, time.Now().UTC().Truncate(time.Second)
	out, err := m.place(copied.path, i.Installation, r.Upgrade)
	out.Searched = m.searched(dir)
	return out, err
}

// place moves the binary to its place, unless another one is there that may not be replaced.
func (m Machine) place(temporary string, i lockfile.Installation, upgrade bool) (Outcome, error) {
	out := Outcome{Installation: i}
	name := filepath.Base(i.Path)
	err := m.lock().Install(temporary, i, func(c lockfile.Content) error {
		there, err := lockfile.Digest(i.Path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		before, known := c.Installed[name]
		switch {
		case known && before.Path != i.Path && exists(before.Path):
			return core.Errorf(core.CodeConflict, "%s is installed at %s", name, before.Path).
				WithHint("remove it there first, or install into the same directory: -dir %s", filepath.Dir(before.Path))
		case there == i.Digest && c.Drivers[name] == string(i.Digest) && known:
			out.Already, out.Installation = true, before
			return errAlready
		case there != "" && there != i.Digest && !upgrade:
			return core.Errorf(core.CodeConflict, "%s is there already: %s, %s; this is version %s, %s", i.Path, versionOf(before, there), there, i.Version, i.Digest).
				WithHint("replace it, while instard runs: -upgrade")
		}
		if there != "" && there != i.Digest {
			out.Replaced = versionOf(before, there)
		}
		return nil
	})
	if errors.Is(err, errAlready) {
		return out, nil
	}
	return out, err
}

// errAlready ends an installation that has nothing to do.
var errAlready = errors.New("installed already")

func versionOf(i lockfile.Installation, there core.Digest) string {
	if i.Digest == there {
		return "version " + i.Version
	}
	return "another binary"
}

// described is a binary that has described itself.
type described struct{ lockfile.Installation }

func (d described) fileName() string { return "instar-" + string(d.Kind) + "-" + d.Name }

// describe launches a binary, the copy of a source, once, as instard would.
func describe(ctx context.Context, path, source string) (described, error) {
	dir, err := launch.TempDir("id-")
	if err != nil {
		return described{}, err
	}
	defer func() { _ = os.RemoveAll(dir) }() // only the keys of a process that is gone
	p, err := launch.Start(ctx, launch.Options{
		Path: path, Dir: filepath.Join(dir, "l"), SocketDir: dir, Log: filepath.Join(dir, "log"), Env: launch.Environment(hclog.Warn),
	})
	if start := (*launch.StartError)(nil); errors.As(err, &start) {
		start.Path = source // nobody knows the copy
	}
	if err != nil {
		return described{}, core.Errorf(core.CodeInvalid, "it is no driver that runs on this machine: %w", err).
			WithHint("it must be the binary itself, for this kind of machine, and not an archive; instar driver verify says more")
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), describeGrace)
		defer cancel()
		_ = p.Stop(ctx) // it is killed if it does not end
	}()
	driver, err := p.Driver(sdk.KindCompute) // Describe is common to all kinds
	if err != nil {
		return described{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, describeGrace)
	defer cancel()
	d, err := driver.Describe(ctx)
	if err != nil {
		return described{}, core.Errorf(core.CodeInvalid, "it does not describe itself: %w", err)
	}
	i := lockfile.Installation{Kind: core.DriverKind(d.Kind), Name: d.Name, Version: d.Version, Protocol: p.State().Protocol}
	switch i.Kind {
	case core.DriverCompute, core.DriverTraffic, core.DriverMetrics:
	default:
		return described{}, core.Errorf(core.CodeInvalid, "its kind is %q: it must be compute, traffic or metrics", d.Kind)
	}
	if err := core.CheckName("driver", i.Name); err != nil {
		return described{}, err
	}
	return described{i}, nil
}
