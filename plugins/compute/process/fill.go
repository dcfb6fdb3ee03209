package process

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/instarhq/instar/plugins/compute/process/artifact"
	"github.com/instarhq/instar/plugins/compute/process/launch"
	"github.com/instarhq/instar/plugins/compute/process/logfile"
	"github.com/instarhq/instar/sdk"
)

const (
	// tmpDir is for temporary files, below the instance's own directory; TMPDIR names it.
	tmpDir = ".tmp"
	// maxMount is the largest mounted file; configuration objects are smaller.
	maxMount = 16 << 20
)

// filler makes what the instance sees as its directory: links to the artifact's top-level entries, and
// the mounts. The directory belongs to the driver and has the sticky bit, so that the instance can make
// and change files of its own everywhere but cannot replace those.
type filler struct {
	root *os.Root
	uid  *int
	gid  *int
}

// fill fills dir, which is to be the instance's, and returns what was mounted.
func (t *target) fill(dir string, plan launch.Plan, spec sdk.InstanceSpec, cfg workloadConfig, tree artifact.Tree) ([]mountRecord, error) {
	for _, folder := range []string{filepath.Join(dir, logfile.Folder), rootIn(dir)} {
		if err := makeDir(folder, 0o711); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, err
		}
	}
	root, err := os.OpenRoot(rootIn(dir))
	if err != nil {
		return nil, err
	}
	defer func() { _ = root.Close() }()
	f := &filler{root: root, uid: plan.UID, gid: plan.GID}
	if err := f.links(tree, spec.Artifact.Source); err != nil {
		return nil, err
	}
	var mounts []mountRecord
	for n, m := range spec.Mounts {
		written, err := f.mount(m)
		if err != nil {
			return nil, atMount(n, m, err)
		}
		mounts = append(mounts, written)
	}
	if err := f.workingDir(rootIn(dir), cfg.WorkingDir); err != nil {
		return nil, at("working_dir", err)
	}
	if err := f.own(tmpDir); err != nil {
		return nil, err
	}
	return mounts, openToInstance(rootIn(dir), plan.GID)
}

// openToInstance lets the instance make files in its directory.
func openToInstance(dir string, gid *int) error {
	if gid == nil {
		return os.Chmod(dir, 0o700)
	}
	if err := os.Chown(dir, os.Geteuid(), *gid); err != nil {
		return err
	}
	return os.Chmod(dir, 0o770|fs.ModeSticky)
}

// links makes the artifact reachable. An empty directory of the artifact becomes a real one, which the
// instance can write to.
func (f *filler) links(tree artifact.Tree, source string) error {
	switch {
	case tree.Name == "":
		return nil
	case tree.Single:
		return f.root.Symlink(filepath.Join(tree.Dir, artifact.Single), programName(source))
	}
	entries, err := os.ReadDir(tree.Dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		inside := filepath.Join(tree.Dir, entry.Name())
		if entry.IsDir() {
			below, err := os.ReadDir(inside)
			if err != nil {
				return err
			}
			if len(below) == 0 {
				if err := f.own(entry.Name()); err != nil {
					return err
				}
				continue
			}
		}
		if err := f.root.Symlink(inside, entry.Name()); err != nil {
			return err
		}
	}
	return nil
}

// programName is what a single program is called in the instance's directory: as at its source.
func programName(source string) string {
	if u, err := url.Parse(source); err == nil && u.Scheme != "" {
		source = u.Path
	}
	if name := path.Base(source); name != "." && name != "/" && name != ".." && name != tmpDir {
		return name
	}
	return artifact.Single
}

// own makes a directory that the instance may write to; one that is there stays as it is.
func (f *filler) own(name string) error {
	err := f.root.Mkdir(name, 0o700)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err == nil && f.uid != nil {
		err = f.root.Chown(name, *f.uid, *f.gid)
	}
	return err
}

// mount writes a read-only file. Directories above it that are links into the artifact become real
// directories, with links to what they held.
func (f *filler) mount(m sdk.Mount) (mountRecord, error) {
	if err := checkMountPath(m.Path); err != nil {
		return mountRecord{}, err
	}
	if len(m.Data) > maxMount {
		return mountRecord{}, sdk.InvalidConfig("", "it has %d bytes; the limit is %d", len(m.Data), maxMount)
	}
	mode := fs.FileMode(m.Mode)
	if mode == 0 {
		mode = 0o444
	}
	if mode&^fs.ModePerm != 0 {
		return mountRecord{}, sdk.InvalidConfig("", "mode %o has more than permission bits", m.Mode)
	}
	// Read-only is what a mount is; and the instance, which does not own the file, is its group.
	mode &^= 0o222
	mode |= mode & 0o500 >> 3
	if err := f.realDir(path.Dir(m.Path)); err != nil {
		return mountRecord{}, err
	}
	if err := f.makeWay(m.Path); err != nil {
		return mountRecord{}, err
	}
	if err := f.write(m.Path, m.Data, mode); err != nil {
		return mountRecord{}, err
	}
	sum := sha256.Sum256(m.Data)
	return mountRecord{Path: m.Path, Mode: uint32(mode), Sum: hex.EncodeToString(sum[:])}, nil
}

func checkMountPath(name string) error {
	if name == "." || !filepath.IsLocal(name) || path.Clean(name) != name || strings.ContainsRune(name, 0) {
		return sdk.InvalidConfig("", "path %q must be relative, in its shortest form, and stay in the instance's directory", name)
	}
	return nil
}

// realDir makes sure that name is a directory of the instance and no link.
func (f *filler) realDir(name string) error {
	if name == "." {
		return nil
	}
	if err := f.realDir(path.Dir(name)); err != nil {
		return err
	}
	info, err := f.root.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if err := f.root.Mkdir(name, 0o755); err != nil {
			return err
		}
		return f.root.Chmod(name, 0o755)
	case err != nil:
		return err
	case info.IsDir():
		return nil
	case info.Mode()&fs.ModeSymlink == 0:
		return sdk.InvalidConfig("", "%q is a mounted file and cannot hold another one", name)
	}
	return f.unfold(name)
}

// unfold replaces a link into the artifact by a directory with links to what is there.
func (f *filler) unfold(name string) error {
	inside, err := f.root.Readlink(name)
	if err != nil {
		return err
	}
	entries, err := os.ReadDir(inside)
	if errors.Is(err, syscall.ENOTDIR) {
		return sdk.InvalidConfig("", "%q is a file of the artifact and cannot hold a mount", name)
	}
	if err != nil {
		return err
	}
	if err := errors.Join(f.root.Remove(name), f.root.Mkdir(name, 0o755), f.root.Chmod(name, 0o755)); err != nil {
		return err
	}
	for _, entry := range entries {
		if err := f.root.Symlink(filepath.Join(inside, entry.Name()), path.Join(name, entry.Name())); err != nil {
			return err
		}
	}
	return nil
}

// makeWay lets a mount take the place of a file of the artifact, and of nothing else.
func (f *filler) makeWay(name string) error {
	info, err := f.root.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode()&fs.ModeSymlink == 0:
		return sdk.InvalidConfig("", "%q is mounted twice, or is a directory", name)
	}
	inside, err := f.root.Readlink(name)
	if err != nil {
		return err
	}
	if info, err := os.Stat(inside); err == nil && info.IsDir() {
		return sdk.InvalidConfig("", "%q is a directory of the artifact", name)
	}
	return f.root.Remove(name)
}

func (f *filler) write(name string, data []byte, mode fs.FileMode) (err error) {
	out, err := f.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	if _, err := out.Write(data); err != nil {
		return err
	}
	if f.gid != nil {
		if err := out.Chown(os.Geteuid(), *f.gid); err != nil {
			return err
		}
	}
	return out.Chmod(mode)
}

// workingDir makes the directory that the program starts in, if it is not there.
func (f *filler) workingDir(dir, name string) error {
	// By path, because links into the artifact, whose own links were checked, lead out of f.root.
	info, err := os.Stat(filepath.Join(dir, name))
	if err == nil && info.IsDir() {
		return nil
	}
	if err == nil {
		return sdk.InvalidConfig("", "%q is a file", name)
	}
	name = path.Clean(name)
	if err := f.realDir(path.Dir(name)); err != nil {
		return err
	}
	return f.own(name)
}

func atMount(n int, m sdk.Mount, err error) error {
	var typed *sdk.Error
	if errors.As(err, &typed) {
		return sdk.InvalidConfig(fmt.Sprintf("mount[%d]", n), "%s", typed.Message)
	}
	return fmt.Errorf("mount %q: %w", m.Path, err)
}
