package artifact

import (
	"archive/tar"
	"context"
	"errors"
	"io"
	"os"
	"path"
)

// Single is the name, in its tree, of an artifact that is a single program.
const Single = "program"

// entries calls visit for every entry of an archive, judged; for a file with its content. It returns
// whether the blob is an archive at all, and the tree that it makes.
func entries(ctx context.Context, blob io.Reader, size int64, limits Limits,
	visit func(name string, n node, content io.Reader) error,
) (*layout, bool, error) {
	archive, err := open(blob, size, limits)
	if err != nil || archive == nil {
		return nil, false, err
	}
	tree := newLayout(limits)
	for {
		if ctx.Err() != nil {
			return nil, true, context.Cause(ctx)
		}
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, true, damaged(err)
		}
		name, n, err := tree.add(header)
		if err == nil && name != "" {
			err = visit(name, n, archive)
		}
		if err != nil {
			return nil, true, err
		}
	}
	if len(tree.nodes) == 0 {
		return nil, true, refuse("the archive is empty")
	}
	err = tree.checkLinks()
	return tree, true, err
}

// inspect reads through a blob as unpack would, and writes nothing.
func inspect(ctx context.Context, blob *os.File, limits Limits) error {
	size, err := rewind(blob)
	if err != nil {
		return err
	}
	if size == 0 {
		return refuse("the file is empty")
	}
	_, _, err = entries(ctx, blob, size, limits, func(_ string, _ node, content io.Reader) error {
		// Reading finds damage within a file.
		if _, err := io.Copy(io.Discard, content); err != nil {
			return damaged(err)
		}
		return nil
	})
	return err
}

func rewind(blob *os.File) (size int64, err error) {
	if size, err = blob.Seek(0, io.SeekEnd); err != nil {
		return 0, err
	}
	_, err = blob.Seek(0, io.SeekStart)
	return size, err
}

// unpacker writes a tree below a directory that nothing else writes to.
type unpacker struct {
	root *os.Root
	sums map[string]string // digests of files, by name
	dirs []string          // made, parents first
}

// unpack writes the blob's tree into dir, which is empty, and returns the digests of its files and
// whether it is a single program.
func unpack(ctx context.Context, blob *os.File, dir string, limits Limits) (sums map[string]string, single bool, err error) {
	size, err := rewind(blob)
	if err != nil {
		return nil, false, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, false, err
	}
	defer func() { _ = root.Close() }()
	u := &unpacker{root: root, sums: map[string]string{}}
	tree, archive, err := entries(ctx, blob, size, limits, u.write)
	if err != nil {
		return nil, false, err
	}
	if !archive {
		if _, err := rewind(blob); err != nil {
			return nil, false, err
		}
		return u.sums, true, u.file(Single, true, blob)
	}
	for name, n := range tree.nodes {
		if n.kind == tar.TypeLink {
			u.sums[name] = u.sums[tree.original(name)]
		}
	}
	return u.sums, false, u.seal()
}

// original follows hard links to the file that they are links to.
func (l *layout) original(name string) string {
	for l.nodes[name].kind == tar.TypeLink {
		name = l.nodes[name].target
	}
	return name
}

func (u *unpacker) write(name string, n node, content io.Reader) error {
	if n.kind == tar.TypeDir {
		return u.directory(name)
	}
	if err := u.directory(path.Dir(name)); err != nil {
		return err
	}
	switch n.kind {
	case tar.TypeSymlink:
		return u.root.Symlink(n.target, name)
	case tar.TypeLink:
		return u.root.Link(n.target, name)
	}
	return u.file(name, n.exec, content)
}

// directory makes a directory and those above it. They are writable for the driver until seal.
func (u *unpacker) directory(name string) error {
	if name == "." {
		return nil
	}
	err := u.root.Mkdir(name, 0o700)
	if errors.Is(err, os.ErrExist) {
		return nil
	}
	if errors.Is(err, os.ErrNotExist) {
		if err := u.directory(path.Dir(name)); err != nil {
			return err
		}
		err = u.root.Mkdir(name, 0o700)
	}
	if err == nil {
		u.dirs = append(u.dirs, name)
	}
	return err
}

func (u *unpacker) file(name string, exec bool, content io.Reader) (err error) {
	out, err := u.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	sum := newSum()
	if _, err := io.Copy(io.MultiWriter(out, sum), content); err != nil {
		return damagedUnlessDisk(err)
	}
	u.sums[name] = sum.digest()
	if exec {
		return out.Chmod(0o555)
	}
	return out.Chmod(0o444)
}

// damagedUnlessDisk tells an error of writing, which names a path, from one of reading an archive.
func damagedUnlessDisk(err error) error {
	var disk *os.PathError
	if errors.As(err, &disk) {
		return err
	}
	return damaged(err)
}

// dirMode is of the directories of trees. Without root, instances are the driver's own user and could take
// any right that they lack, so closed directories would only keep people from removing the state.
func dirMode() os.FileMode {
	if os.Geteuid() == 0 {
		return 0o555
	}
	return 0o755
}

// seal takes away the right to write, innermost directories first.
func (u *unpacker) seal() error {
	for i := len(u.dirs) - 1; i >= 0; i-- {
		if err := u.root.Chmod(u.dirs[i], dirMode()); err != nil {
			return err
		}
	}
	return nil
}
