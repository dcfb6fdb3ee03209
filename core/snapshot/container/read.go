package container

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"strings"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/mod/sumdb/note"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/audit"
)

const (
	maxManifest = 16 << 20 // bytes
	maxNote     = 64 << 10 // bytes
	maxWindow   = 64 << 20 // bytes that a decoder keeps, whatever the file asks for
)

// Reader reads a snapshot file from its beginning to its end.
type Reader struct {
	Manifest core.Manifest
	SignedBy []string // names of the trusted keys that have signed manifest and head

	zstd *zstd.Decoder
	tar  *tar.Reader
	next int // of Manifest.Artifacts; -1: the state
	part *partReader
}

// Open reads the manifest and checks its signatures. With keys in trust, at least one of them must have
// signed (CodeDenied); without, nothing is said of who made the file. CodeCorrupt: it is no snapshot,
// or damaged; CodeUnsupported: a newer instar made it. Close the reader.
func Open(r io.Reader, trust audit.Trust) (*Reader, error) {
	decoder, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow))
	if err != nil {
		return nil, fmt.Errorf("snapshot: %w", err)
	}
	s := &Reader{zstd: decoder, tar: tar.NewReader(decoder), next: -1}
	if err := s.begin(trust); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// Close frees what Open made. It does not close the file.
func (s *Reader) Close() { s.zstd.Close() }

func (s *Reader) begin(trust audit.Trust) error {
	text, err := s.small(manifestName, maxManifest)
	if err != nil {
		return err
	}
	signature, err := s.small(signatureName, maxNote)
	if err != nil {
		return err
	}
	head, err := s.small(headName, maxNote)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, &s.Manifest); err != nil {
		return core.Errorf(core.CodeCorrupt, "the snapshot's manifest does not decode: %w", err)
	}
	if s.Manifest.Format != core.Format {
		return core.Errorf(core.CodeUnsupported, "the snapshot has format %d, this instar reads format %d", s.Manifest.Format, core.Format).
			WithHint("use the version of instar that made it (%s), or a newer one", s.Manifest.Version)
	}
	return s.authenticate(text, string(signature), string(head), trust)
}

func (s *Reader) authenticate(text []byte, signature, head string, trust audit.Trust) error {
	if body, _, _ := strings.Cut(signature, "\n\n"); strings.TrimSuffix(body, "\n")+"\n" != signedText(text) {
		return core.Errorf(core.CodeCorrupt, "the snapshot's manifest is not the one that was signed")
	}
	checkpoint, err := audit.OpenCheckpoint(head, trust)
	if err != nil {
		return err
	}
	if checkpoint.Head != s.Manifest.Head {
		return core.Errorf(core.CodeCorrupt, "the snapshot's tree head is not that of its manifest")
	}
	if len(trust.Keys) == 0 {
		return nil
	}
	opened, err := note.Open([]byte(signature), note.VerifierList(trust.Keys...))
	if err != nil {
		return core.Errorf(core.CodeDenied, "the snapshot's manifest is signed by no key that is trusted: %w", err)
	}
	for _, sig := range opened.Sigs {
		s.SignedBy = append(s.SignedBy, sig.Name)
	}
	return nil
}

// State is the reader of the state, in the form that the store restores. Read it to its end: an error,
// instead of io.EOF, says that the state is not what the manifest says.
func (s *Reader) State() (io.Reader, error) {
	if s.next != -1 || s.part != nil {
		return nil, errors.New("snapshot: the state has been read")
	}
	return s.open(stateName, s.Manifest.State)
}

// Artifact moves to the next artifact, in the order of the manifest; io.EOF after the last, which also
// says that the file ends there. What is left of the part before is skipped, and checked.
func (s *Reader) Artifact() (core.SnapshotArtifact, io.Reader, error) {
	if s.next == -1 && s.part == nil {
		if _, err := s.State(); err != nil {
			return core.SnapshotArtifact{}, nil, err
		}
	}
	if _, err := io.Copy(io.Discard, s.part); err != nil {
		return core.SnapshotArtifact{}, nil, err
	}
	s.next++
	if s.next >= len(s.Manifest.Artifacts) {
		return core.SnapshotArtifact{}, nil, s.finish()
	}
	a := s.Manifest.Artifacts[s.next]
	r, err := s.open(artifactName(a.Driver, a.Digest), a.Part)
	return a, r, err
}

// Verify reads what is left of the file and checks every part against the manifest.
func (s *Reader) Verify() error {
	for {
		_, _, err := s.Artifact()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (s *Reader) finish() error {
	_, err := s.tar.Next()
	switch {
	case err == nil:
		return core.Errorf(core.CodeCorrupt, "the snapshot has parts that its manifest does not know")
	case !errors.Is(err, io.EOF):
		return damaged(err)
	}
	if _, err := io.Copy(io.Discard, s.zstd); err != nil { // the checksum is at the end
		return damaged(err)
	}
	return io.EOF
}

// small reads a part that must come next and fits into memory.
func (s *Reader) small(name string, limit int64) ([]byte, error) {
	header, err := s.tar.Next()
	if err != nil {
		return nil, damaged(err)
	}
	if header.Name != name || header.Size > limit {
		return nil, core.Errorf(core.CodeCorrupt, "this is no snapshot of instar: %q where %q should be", header.Name, name)
	}
	data, err := io.ReadAll(io.LimitReader(s.tar, limit))
	if err != nil {
		return nil, damaged(err)
	}
	return data, nil
}

func (s *Reader) open(name string, part core.Part) (io.Reader, error) {
	header, err := s.tar.Next()
	if err != nil {
		return nil, damaged(err)
	}
	if header.Name != name || header.Size != part.Bytes {
		return nil, core.Errorf(core.CodeCorrupt, "the snapshot has %q of %d bytes where its manifest has %q of %d", header.Name, header.Size, name, part.Bytes)
	}
	s.part = &partReader{r: s.tar, name: name, want: part.Digest, sum: sha256.New()}
	return s.part, nil
}

// partReader checks a part's digest at its end.
type partReader struct {
	r    io.Reader
	name string
	want core.Digest
	sum  hash.Hash
}

func (p *partReader) Read(data []byte) (int, error) {
	n, err := p.r.Read(data)
	p.sum.Write(data[:n])
	switch {
	case errors.Is(err, io.EOF):
		if got := core.Digest("sha256:" + hex.EncodeToString(p.sum.Sum(nil))); got != p.want {
			return n, core.Errorf(core.CodeCorrupt, "the snapshot is damaged: %s has the digest %s, the manifest says %s", p.name, got, p.want)
		}
	case err != nil:
		return n, damaged(err)
	}
	return n, err
}

func damaged(err error) error {
	if _, said := core.AsError(err); said {
		return err // where it comes from could not be read: that says nothing about the snapshot
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return core.Errorf(core.CodeCorrupt, "the snapshot is cut off")
	}
	return core.Errorf(core.CodeCorrupt, "the snapshot is damaged, or is none: %w", err)
}
