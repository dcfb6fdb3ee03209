package artifact

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"

	"github.com/instarhq/instar/plugins/durable"
	"github.com/instarhq/instar/sdk"
)

// Export writes an artifact as it was taken in: the bytes that the digest is of. So the form is the same
// every time, and proves what it is.
func (s *Store) Export(ctx context.Context, digest string, w io.Writer) error {
	if err := CheckDigest(digest); err != nil {
		return err
	}
	blob, err := os.Open(s.blob(digest))
	if errors.Is(err, fs.ErrNotExist) {
		return sdk.NotFound("artifact %s is not in the store of this node", digest)
	}
	if err != nil {
		return err
	}
	defer func() { _ = blob.Close() }() // only read
	size, err := rewind(blob)
	if err != nil {
		return err
	}
	sum := newSum()
	content := io.NewSectionReader(blob, 0, size)
	if err := copyLimited(ctx, io.MultiWriter(w, sum), content, size, Limits{Bytes: size}, nil); err != nil {
		return err
	}
	return s.checkBlob(digest, sum.digest())
}

// Import takes in what Export has written, and makes its tree. It goes the way of every other source: the
// same limits, the same judgement of an archive, and nothing gets its name before its digest is right.
func (s *Store) Import(ctx context.Context, digest string, r io.Reader) (err error) {
	defer func() { err = durable.Explain(err, s.dir) }()
	if err := CheckDigest(digest); err != nil {
		return err
	}
	if !exists(s.blob(digest)) {
		if _, err := s.take(ctx, "the imported artifact", imported{from: r, limits: s.bounds()}, digest, nil); err != nil {
			return err
		}
	}
	_, err = s.Tree(ctx, Ref{Digest: digest}, nil)
	return err
}

// imported is an artifact that somebody hands in.
type imported struct {
	from   io.Reader
	limits Limits
}

func (i imported) again() bool { return false }

func (i imported) stream(ctx context.Context, w io.Writer, progress Progress) error {
	return copyLimited(ctx, w, i.from, 0, i.limits, progress)
}
