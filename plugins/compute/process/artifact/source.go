package artifact

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/instarhq/instar/sdk"
)

// source is something that an artifact's bytes can be read from.
type source interface {
	// stream writes all bytes to w and calls progress now and then.
	stream(ctx context.Context, w io.Writer, progress Progress) error
	// again reports whether reading twice is cheap.
	again() bool
}

// Progress is told how many bytes are done, of how many; total 0: not known.
type Progress func(done, total int64)

// find recognises what a source is: an http or https URL, a directory, or a file.
func find(text, checksum string, limits Limits) (source, error) {
	if scheme, rest, ok := strings.Cut(text, "://"); ok {
		switch scheme {
		case "file":
			text = rest
		case "http", "https":
			return findURL(text, checksum, limits)
		default:
			return nil, refuse("scheme %q is not supported: use a path, http:// or https://", scheme)
		}
	}
	if !filepath.IsAbs(text) {
		return nil, refuse("%q is a relative path, and the driver does not know relative to what: give an absolute one", text)
	}
	resolved, err := filepath.EvalSymlinks(text)
	if err != nil && !limits.mayBe(text) {
		return nil, limits.notAllowed(text) // neither is it said what there is outside
	}
	if err != nil {
		return nil, sourceError(text, err)
	}
	base, err := limits.allowPath(text, resolved)
	if err != nil {
		return nil, err
	}
	info, err := os.Lstat(resolved)
	if err != nil {
		return nil, sourceError(text, err)
	}
	switch {
	case info.IsDir():
		return directory{path: resolved, limits: limits}, nil
	case info.Mode().IsRegular():
		if strings.HasSuffix(text, ".zip") {
			return nil, refuse("%s: zip is not supported: use tar, tar.gz, tar.zst, a directory or a single program", text)
		}
		return file{base: base, path: resolved, limits: limits}, nil
	}
	return nil, refuse("%s is neither a file nor a directory", text)
}

func findURL(text, checksum string, limits Limits) (source, error) {
	u, err := url.Parse(text)
	if err != nil {
		return nil, refuse("%w", err)
	}
	if u.Host == "" {
		return nil, refuse("%q names no host", u.Redacted())
	}
	if err := limits.allowURL(u); err != nil {
		return nil, err
	}
	if u.Scheme == "http" && checksum == "" {
		return nil, sdk.InvalidConfig("artifact.checksum",
			"it is required for http:// sources, which anybody on the way can change: give sha256:…, or use https://")
	}
	return download{url: u, limits: limits}, nil
}

// sourceError gives an error of reading a local source its code.
func sourceError(path string, err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return sdk.NotFound("artifact source %s does not exist on this node", path)
	case errors.Is(err, fs.ErrPermission):
		return refuse("%s cannot be read by the driver: %w", path, err)
	}
	return fmt.Errorf("artifact source %s: %w", path, err)
}

// file is an archive or a single program on this machine.
type file struct {
	base   string // what it must not leave, even if it is replaced by a link after it was looked at
	path   string
	limits Limits
}

func (f file) again() bool { return true }

func (f file) stream(ctx context.Context, w io.Writer, progress Progress) error {
	inside, err := filepath.Rel(f.base, f.path)
	if err != nil {
		return sourceError(f.path, err)
	}
	in, err := os.OpenInRoot(f.base, inside)
	if err != nil {
		return sourceError(f.path, err)
	}
	defer func() { _ = in.Close() }()
	info, err := in.Stat()
	if err != nil {
		return sourceError(f.path, err)
	}
	return copyLimited(ctx, w, in, info.Size(), f.limits, progress)
}

// copyLimited copies until the end, the limit of an artifact's size, or the end of ctx.
func copyLimited(ctx context.Context, w io.Writer, r io.Reader, total int64, limits Limits, progress Progress) error {
	if total > limits.Bytes {
		return refuse("it has %d bytes; the limit is %d (artifact_max_bytes of the target)", total, limits.Bytes)
	}
	var done int64
	buffer := make([]byte, 128<<10)
	for {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		n, err := r.Read(buffer)
		if n > 0 {
			if _, err := w.Write(buffer[:n]); err != nil {
				return err
			}
		}
		if done += int64(n); done > limits.Bytes {
			return refuse("it has more than %d bytes, which is the limit (artifact_max_bytes of the target)", limits.Bytes)
		}
		if progress != nil {
			progress(done, max(total, 0))
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
