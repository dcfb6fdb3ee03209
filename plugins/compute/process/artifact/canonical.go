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
	out := tar.NewWriter(w)
	var done int64
	err := filepath.WalkDir(d.path, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return sourceError(path, err)
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if path == d.path {
			return nil
		}
		n, err := d.add(out, path, entry)
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

func (d directory) add(out *tar.Writer, path string, entry fs.DirEntry) (int64, error) {
	name, err := filepath.Rel(d.path, path)
	if err != nil {
		return 0, err
	}
	h := &tar.Header{Name: filepath.ToSlash(name), Format: tar.FormatPAX}
	switch entry.Type() {
	case fs.ModeDir:
		h.Typeflag, h.Mode = tar.TypeDir, 0o555
		h.Name += "/"
		return 0, out.WriteHeader(h)
	case fs.ModeSymlink:
		h.Typeflag, h.Mode = tar.TypeSymlink, 0o777
		if h.Linkname, err = os.Readlink(path); err != nil {
			return 0, sourceError(path, err)
		}
		return 0, out.WriteHeader(h)
	case 0:
		return addFile(out, path, h)
	}
	return 0, refuse("%s is neither a file, a directory nor a link", path)
}

func addFile(out *tar.Writer, path string, h *tar.Header) (int64, error) {
	// Whoever owns the directory may put a link or a pipe in the file's place meanwhile.
	in, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
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
