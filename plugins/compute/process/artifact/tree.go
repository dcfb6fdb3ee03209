package artifact

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/instarhq/instar/plugins/durable"
	"github.com/instarhq/instar/sdk"
)

// manifestFormat is the format number of manifests.
const manifestFormat = 1

// Tree is an unpacked artifact. A tree that was changed after it was unpacked is never used for a new
// instance; the artifact is unpacked again beside it, so a digest can have several trees.
type Tree struct {
	Name   string // in the store: the digest's hexadecimal digits, a dot, a number
	Dir    string
	Single bool   // its only file is Single
	Sum    string // digests what it holds
}

// manifest describes a tree as it was unpacked. It is written before the tree has its name.
type manifest struct {
	Format int    `json:"format"`
	Digest string `json:"digest"`
	Single bool   `json:"single"`
	Bytes  int64  `json:"bytes"`
	// Sum digests names, modes, contents and link targets.
	Sum string `json:"sum"`
	// Quick digests names, modes, sizes, inode numbers and times. While it is the same, so is Sum.
	Quick string `json:"quick"`
}

// Tree makes a pinned artifact ready: from the store, or else from its source. The work for one digest is
// done once, however many ask at the same time.
func (s *Store) Tree(ctx context.Context, ref Ref, progress Progress) (tree Tree, err error) {
	defer func() { err = durable.Explain(err, s.dir) }()
	if err := CheckDigest(ref.Digest); err != nil {
		return Tree{}, err
	}
	if tree, _, err := s.current(ref.Digest); err != nil || tree.Name != "" {
		return tree, err
	}
	if err := s.fetch(ctx, ref, progress); err != nil {
		return Tree{}, err
	}
	unlock, err := s.work.Lock(ctx, ref.Digest)
	if err != nil {
		return Tree{}, err
	}
	defer unlock()
	tree, next, err := s.current(ref.Digest)
	if err != nil || tree.Name != "" {
		return tree, err
	}
	return s.make(ctx, ref.Digest, next, progress)
}

// current returns the tree of a digest that is as it was unpacked, or no tree and the number that the
// next one gets.
func (s *Store) current(digest string) (tree Tree, next int, err error) {
	for n := 0; ; n++ {
		name := strings.TrimPrefix(digest, "sha256:") + "." + strconv.Itoa(n)
		if !exists(s.manifest(name)) && !exists(s.path("trees", name)) {
			return Tree{}, n, nil
		}
		m, err := s.readManifest(name)
		if err != nil {
			continue // a damaged manifest vouches for nothing
		}
		sum, err := s.Sum(name)
		if err != nil {
			return Tree{}, 0, err
		}
		if sum == m.Sum {
			return Tree{Name: name, Dir: s.path("trees", name), Single: m.Single, Sum: sum}, n, nil
		}
	}
}

func (s *Store) manifest(name string) string { return s.path("trees", name+".json") }

func (s *Store) readManifest(name string) (manifest, error) {
	var m manifest
	if err := durable.ReadJSON(s.manifest(name), &m); err != nil {
		return manifest{}, err
	}
	if m.Format != manifestFormat {
		return manifest{}, fmt.Errorf("%s has format %d; this driver knows %d", s.manifest(name), m.Format, manifestFormat)
	}
	return m, nil
}

// make unpacks a blob under a temporary name, brings it to the disk, and gives it its name.
func (s *Store) make(ctx context.Context, digest string, number int, progress Progress) (Tree, error) {
	blob, err := os.Open(s.blob(digest))
	if err != nil {
		return Tree{}, err
	}
	defer func() { _ = blob.Close() }()
	if err := s.verify(ctx, blob, digest, progress); err != nil {
		return Tree{}, err
	}
	tmp, err := os.MkdirTemp(s.path("tmp"), "tree-*")
	if err != nil {
		return Tree{}, err
	}
	name := strings.TrimPrefix(digest, "sha256:") + "." + strconv.Itoa(number)
	m, err := s.fill(ctx, blob, digest, tmp)
	if err == nil {
		err = durable.WriteJSON(s.manifest(name), m)
	}
	tree := Tree{Name: name, Dir: s.path("trees", name), Single: m.Single, Sum: m.Sum}
	if err == nil {
		err = durable.Rename(tmp, tree.Dir)
	}
	if err != nil {
		return Tree{}, errors.Join(err, durable.RemoveTree(tmp))
	}
	// The right to write a directory itself is needed to rename it.
	return tree, os.Chmod(tree.Dir, dirMode())
}

// fill unpacks into tmp and describes the result.
func (s *Store) fill(ctx context.Context, blob *os.File, digest, tmp string) (manifest, error) {
	sums, single, err := unpack(ctx, blob, tmp, s.bounds())
	if err != nil {
		return manifest{}, err
	}
	if err := syncFS(tmp); err != nil {
		return manifest{}, err
	}
	d, err := survey(tmp, func(name string) (string, error) { return sums[name], nil })
	if err != nil {
		return manifest{}, err
	}
	return manifest{
		Format: manifestFormat, Digest: digest, Single: single, Bytes: d.bytes, Sum: d.full, Quick: d.quick,
	}, nil
}

// verify reads the blob and compares its digest: disks lose bits.
func (s *Store) verify(ctx context.Context, blob *os.File, digest string, progress Progress) error {
	size, err := rewind(blob)
	if err != nil {
		return err
	}
	sum := newSum()
	if err := copyLimited(ctx, sum, io.NewSectionReader(blob, 0, size), size, Limits{Bytes: size}, progress); err != nil {
		return err
	}
	return s.checkBlob(digest, sum.digest())
}

// checkBlob removes a blob that has another digest than its name says: without it, the next try gets it
// from its source.
func (s *Store) checkBlob(digest, got string) error {
	if got == digest {
		return nil
	}
	blob := s.blob(digest)
	return errors.Join(sdk.Unavailable(0, "%s was damaged on the disk: it has %s now; it has been removed", blob, got), os.Remove(blob))
}

// syncFS brings everything below dir to the disk with one call instead of one for each file.
func syncFS(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	if err := errors.Join(unix.Syncfs(int(d.Fd())), d.Close()); err != nil {
		return fmt.Errorf("sync the file system of %s: %w", dir, err)
	}
	return nil
}
