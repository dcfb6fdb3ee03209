package artifact

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"

	"github.com/instarhq/instar/plugins/durable"
	"github.com/instarhq/instar/plugins/keyed"
	"github.com/instarhq/instar/sdk"
)

// Store keeps artifacts by digest. The driver's DESIGN.md draws its folders. Its methods are safe for
// concurrent use; one process at a time may have a store open.
type Store struct {
	dir     string
	work    keyed.Mutex // one job for each digest at a time
	mu      sync.Mutex
	limits  Limits
	checked map[string]seen // of trees that are not as they were unpacked
}

// Ref names an artifact.
type Ref struct {
	Source   string // where it comes from, if it is not in the store
	Checksum string // "sha256:…" that the source must have, or empty
	Digest   string // "sha256:…"
}

var digestRE = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)

// Open opens the store in dir, making it if it is not there, and removes what a crash left half done.
func Open(dir string, limits Limits) (*Store, error) {
	s := &Store{dir: dir, limits: limits, checked: map[string]seen{}}
	if err := durable.RemoveTree(s.path("tmp")); err != nil {
		return nil, durable.Explain(err, dir)
	}
	// Instances may enter the trees, but have no business to list them.
	for folder, mode := range map[string]os.FileMode{".": 0o711, "blobs": 0o700, "trees": 0o711, "tmp": 0o700} {
		if err := os.MkdirAll(s.path(folder), mode); err != nil {
			return nil, durable.Explain(err, dir)
		}
		if err := os.Chmod(s.path(folder), mode); err != nil {
			return nil, durable.Explain(err, dir)
		}
	}
	return s, nil
}

// SetLimits changes what is accepted from now on.
func (s *Store) SetLimits(limits Limits) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.limits = limits
}

func (s *Store) bounds() Limits {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.limits
}

func (s *Store) path(elements ...string) string {
	return filepath.Join(append([]string{s.dir}, elements...)...)
}

func (s *Store) blob(digest string) string {
	return s.path("blobs", strings.TrimPrefix(digest, "sha256:"))
}

// Ingest takes a source into the store, so that later changes of it do not matter, and returns its
// digest. A source that could not be unpacked is refused here, when somebody is still looking.
func (s *Store) Ingest(ctx context.Context, ref Ref, progress Progress) (digest string, err error) {
	defer func() { err = durable.Explain(err, s.dir) }()
	want := strings.ToLower(ref.Checksum)
	if want != "" && !digestRE.MatchString(want) {
		return "", sdk.InvalidConfig("artifact.checksum", "%q is not sha256: followed by 64 hexadecimal digits", ref.Checksum)
	}
	if want != "" && exists(s.blob(want)) {
		return want, nil
	}
	from, err := find(ref.Source, want, s.bounds())
	if err != nil {
		return "", err
	}
	if from.again() {
		sum := newSum()
		if err := from.stream(ctx, sum, progress); err != nil {
			return "", err
		}
		if digest := sum.digest(); exists(s.blob(digest)) {
			return digest, checksum(ref.Source, want, digest)
		}
	}
	return s.take(ctx, ref.Source, from, want, progress)
}

// take copies a source into the store and keeps the copy if it has the wanted digest and unpacks.
func (s *Store) take(ctx context.Context, name string, from source, want string, progress Progress) (string, error) {
	tmp, err := os.CreateTemp(s.path("tmp"), "blob-*")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.Remove(tmp.Name()) }() // fails after the rename, as it should
	defer func() { _ = tmp.Close() }()
	sum := newSum()
	if err := from.stream(ctx, io.MultiWriter(tmp, sum), progress); err != nil {
		return "", err
	}
	digest := sum.digest()
	if err := checksum(name, want, digest); err != nil {
		return "", err
	}
	unlock, err := s.work.Lock(ctx, digest)
	if err != nil {
		return "", err
	}
	defer unlock()
	if exists(s.blob(digest)) {
		return digest, nil
	}
	if err := inspect(ctx, tmp, s.bounds()); err != nil {
		return "", err
	}
	if err := errors.Join(tmp.Chmod(0o400), tmp.Sync()); err != nil {
		return "", err
	}
	return digest, durable.Rename(tmp.Name(), s.blob(digest))
}

func checksum(source, want, digest string) error {
	if want == "" || want == digest {
		return nil
	}
	return sdk.InvalidConfig("artifact.checksum", "%s has %s, not %s", source, digest, want)
}

// fetch brings the blob of a pinned artifact into the store if it is not there.
func (s *Store) fetch(ctx context.Context, ref Ref, progress Progress) error {
	if exists(s.blob(ref.Digest)) {
		return nil
	}
	if ref.Source == "" {
		return sdk.NotFound("artifact %s is not in the store of this node, and its source is not known", ref.Digest)
	}
	from, err := find(ref.Source, ref.Digest, s.bounds())
	if err != nil {
		return err
	}
	got, err := s.take(ctx, ref.Source, from, "", progress)
	if err != nil {
		return err
	}
	if got != ref.Digest {
		// Not refused: what was pinned is not there, and somebody else may have it.
		return sdk.NotFound("%s has changed since it was pinned: it was %s and is %s; apply the service again, or bring the old one back",
			ref.Source, ref.Digest, got)
	}
	return nil
}

type sum struct{ hash.Hash }

func newSum() sum { return sum{sha256.New()} }

func (s sum) digest() string { return "sha256:" + hex.EncodeToString(s.Sum(nil)) }

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

func isTyped(err error) bool {
	var typed *sdk.Error
	return errors.As(err, &typed)
}

// CheckDigest refuses a digest that Ingest cannot have returned.
func CheckDigest(digest string) error {
	if digestRE.MatchString(digest) {
		return nil
	}
	if digest == "" {
		return sdk.InvalidConfig("artifact.digest", "the artifact is not pinned: it has no digest")
	}
	return sdk.InvalidConfig("artifact.digest", "%s", fmt.Sprintf("%q is not sha256: followed by 64 hexadecimal digits", digest))
}
