package artifact

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/instarhq/instar/sdk"
)

// directory is a source that is ingested as its canonical tar file: entries in the order of a walk by
// name, and of their metadata only what a tree keeps (kind, name, whether it may be executed, a link's
// target). So the digest of a directory is the digest of the file that is stored for it, and does not
// depend on owners or times.
type directory struct {
	path   string
	limits Limits
}

func (d directory) again() bool { return true }

func (d directory) stream(ctx context.Context, w io.Writer, progress Progress) error {
	// Whoever may write to the directory cannot lead the walk out of it by links that come and go.
	root, err := os.OpenRoot(d.path)
	if err != nil {
		return sourceError(d.path, err)
	}
	defer func() { _ = root.Close() }()
	out := tar.NewWriter(w)
	var done int64
	err = fs.WalkDir(root.FS(), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return sourceError(filepath.Join(d.path, name), err)
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if name == "." {
			return nil
		}
		n, err := d.add(out, root, name, entry)
		if done += n; progress != nil && n > 0 {
			progress(done, 0)
		}
		if err == nil && done > d.limits.Bytes {
			err = refuse("%s has more than %d bytes, which is the limit (artifact_max_bytes of the target)", d.path, d.limits.Bytes)
		}
		return err
	})
	if err != nil {
		return err
	}
	return out.Close()
}

func (d directory) add(out *tar.Writer, root *os.Root, name string, entry fs.DirEntry) (_ int64, err error) {
	path := filepath.Join(d.path, name)
	h := &tar.Header{Name: name, Format: tar.FormatPAX}
	switch entry.Type() {
	case fs.ModeDir:
		h.Typeflag, h.Mode = tar.TypeDir, 0o555
		h.Name += "/"
		return 0, out.WriteHeader(h)
	case fs.ModeSymlink:
		h.Typeflag, h.Mode = tar.TypeSymlink, 0o777
		if h.Linkname, err = root.Readlink(name); err != nil {
			return 0, sourceError(path, err)
		}
		return 0, out.WriteHeader(h)
	case 0:
		return addFile(out, root, path, h)
	}
	return 0, refuse("%s is neither a file, a directory nor a link", path)
}

func addFile(out *tar.Writer, root *os.Root, path string, h *tar.Header) (int64, error) {
	// Nor make it wait for a pipe in a file's place.
	in, err := root.OpenFile(h.Name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return 0, sourceError(path, err)
	}
	defer func() { _ = in.Close() }()
	info, err := in.Stat()
	if err != nil {
		return 0, sourceError(path, err)
	}
	if !info.Mode().IsRegular() {
		return 0, changing(path, errors.New("it is no file any more"))
	}
	h.Typeflag, h.Size, h.Mode = tar.TypeReg, info.Size(), 0o444
	if info.Mode()&0o111 != 0 {
		h.Mode = 0o555
	}
	if err := out.WriteHeader(h); err != nil {
		return 0, err
	}
	n, err := io.CopyN(out, in, h.Size)
	if errors.Is(err, io.EOF) {
		return n, changing(path, errors.New("it became shorter"))
	}
	if err != nil {
		return n, fmt.Errorf("copy %s: %w", path, err)
	}
	return n, nil
}

func changing(path string, err error) error {
	return sdk.Unavailable(0, "artifact source %s changes while it is being read (%w): wait until it is complete", path, err)
}
