package snapshot_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/mod/sumdb/note"
	"pgregory.net/rapid"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/audit"
	"github.com/instarhq/instar/core/snapshot"
	"github.com/instarhq/instar/core/snapshot/container"
)

// content is a State whose bytes are given.
type content struct {
	data []byte
	head core.TreeHead
}

func (c *content) Snapshot(_ context.Context, w io.Writer) (core.TreeHead, error) {
	_, err := w.Write(c.data)
	return c.head, err
}

// shelf is a set of artifacts.
type shelf map[core.Digest][]byte

func (s shelf) Needed() []core.SnapshotArtifact {
	var out []core.SnapshotArtifact
	for d := range s {
		out = append(out, core.SnapshotArtifact{Driver: "process", Digest: d})
	}
	return out
}

func (s shelf) Export(_ context.Context, _ string, digest core.Digest, w io.Writer) error {
	if s[digest] == nil {
		return errors.New("it has gone")
	}
	_, err := w.Write(s[digest])
	return err
}

type fixture struct {
	keeper *snapshot.Keeper
	state  *content
	shelf  shelf
	trust  audit.Trust
	now    time.Time
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	secret, public, err := audit.NewKey("dev/n1")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := note.NewSigner(secret)
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := note.NewVerifier(public)
	if err != nil {
		t.Fatal(err)
	}
	data := make([]byte, 300_000)
	for i := range data {
		data[i] = byte(rand.Uint32() >> 28)
	}
	f := &fixture{
		state: &content{data, core.TreeHead{Origin: "dev/1234/1", Size: 41, Root: core.Hash{1, 2}}},
		shelf: shelf{core.DigestBytes([]byte("a")): []byte("the artifact a"), core.DigestBytes([]byte("b")): nil},
		trust: audit.Trust{Keys: []note.Verifier{verifier}},
		now:   time.Date(2026, 11, 23, 1, 2, 3, 0, time.UTC),
	}
	f.keeper = &snapshot.Keeper{Maker: snapshot.Maker{
		State: f.state, Artifacts: f.shelf, Signers: []note.Signer{signer}, Keys: []string{public}, TempDir: t.TempDir(),
		Manifest: func() core.Manifest {
			return core.Manifest{Cluster: "dev", ClusterID: "1234", Generation: 1, Node: "n1"}
		},
		Now: func() time.Time { return f.now },
	}}
	f.keeper.Scratch = func(_ context.Context, _ string, state io.Reader) (int, core.TreeHead, error) {
		data, err := io.ReadAll(state)
		if err == nil && !bytes.Equal(data, f.state.data) {
			err = errors.New("other bytes")
		}
		return 3, f.state.head, err
	}
	return f
}

func (f *fixture) file(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	if _, err := f.keeper.Maker.Write(t.Context(), &b, true, nil); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestWhatIsWrittenReadsBack(t *testing.T) {
	f := newFixture(t)
	file := f.file(t)
	if len(file) > len(f.state.data) {
		t.Errorf("%d bytes of state make a file of %d: it is not compressed", len(f.state.data), len(file))
	}
	report, err := f.keeper.Verify(t.Context(), bytes.NewReader(file), f.trust, true)
	if err != nil {
		t.Fatal(err)
	}
	m := report.Manifest
	if !report.Restored || report.Services != 3 || m.Head != f.state.head || m.State.Bytes != int64(len(f.state.data)) {
		t.Errorf("report %+v", report)
	}
	if len(m.Artifacts) != 1 || len(m.Missing) != 1 || m.Missing[0].Reason != "it has gone" {
		t.Errorf("artifacts %+v, missing %+v", m.Artifacts, m.Missing)
	}
	if strings.Join(report.SignedBy, " ") != "dev/n1" {
		t.Errorf("signed by %q", report.SignedBy)
	}
	r, err := container.Open(bytes.NewReader(file), f.trust)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	_, artifact, err := r.Artifact() // skips the state
	if err != nil {
		t.Fatal(err)
	}
	if data, err := io.ReadAll(artifact); err != nil || string(data) != "the artifact a" {
		t.Errorf("artifact %q, %v", data, err)
	}
	if _, _, err := r.Artifact(); !errors.Is(err, io.EOF) {
		t.Errorf("after the last artifact: %v", err)
	}
}

func TestUnknownKeyIsRefused(t *testing.T) {
	f, other := newFixture(t), newFixture(t)
	_, err := container.Open(bytes.NewReader(f.file(t)), other.trust)
	if core.CodeOf(err) != core.CodeDenied {
		t.Errorf("error %v, want denied", err)
	}
	if _, err := f.keeper.Verify(t.Context(), bytes.NewReader(f.file(t)), audit.Trust{}, false); err != nil {
		t.Errorf("without keys: %v", err)
	}
}

func decompressed(file []byte) []byte {
	decoder, err := zstd.NewReader(nil)
	if err != nil {
		return nil
	}
	defer decoder.Close()
	out, _ := decoder.DecodeAll(file, nil)
	return out
}

// Whatever is cut off or flipped, a reader says so, unless it still decompresses to the same bytes: the
// compression has some bits that mean nothing.
func TestDamageIsFound(t *testing.T) {
	f := newFixture(t)
	f.state.data = f.state.data[:4096]
	file := f.file(t)
	whole := decompressed(file)
	rapid.Check(t, func(t *rapid.T) {
		bad := bytes.Clone(file)
		switch at := rapid.IntRange(0, len(bad)-1).Draw(t, "at"); rapid.SampledFrom([]string{"cut", "flip"}).Draw(t, "how") {
		case "cut":
			bad = bad[:at]
		case "flip":
			bad[at] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		}
		_, err := f.keeper.Verify(context.Background(), bytes.NewReader(bad), f.trust, false)
		if err == nil && bytes.Equal(decompressed(bad), whole) {
			return
		}
		if code := core.CodeOf(err); code != core.CodeCorrupt && code != core.CodeDenied && code != core.CodeUnsupported {
			t.Fatalf("error %v", err)
		}
	})
}

func TestDirectory(t *testing.T) {
	f := newFixture(t)
	dir := filepath.Join(t.TempDir(), "new", "backups")
	var names []string
	for i := range 4 {
		f.now = f.now.Add(time.Hour)
		f.state.head.Size = uint64(100 + i)
		file, _, err := f.keeper.Save(t.Context(), dir, false, nil)
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, file.Name)
	}
	if err := os.WriteFile(filepath.Join(dir, "dev-notes.txt"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "other-g1-s1-20200101T000000Z.instar"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	files, err := f.keeper.List(t.Context(), "file://"+dir, "dev")
	if err != nil || len(files) != 4 || files[0].Name != names[3] || files[0].Seq != 103 {
		t.Fatalf("files %+v, %v", files, err)
	}
	gone, err := f.keeper.Prune(t.Context(), dir, "dev", 2, 0)
	if err != nil || len(gone) != 2 || gone[0].Name != names[1] {
		t.Errorf("pruned %+v, %v", gone, err)
	}
	file, report, err := f.keeper.Drill(t.Context(), dir, "dev", f.trust)
	if err != nil || file.Name != names[3] || !report.Restored {
		t.Errorf("drill of %s: %+v, %v", file.Name, report, err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 4 {
		t.Errorf("the directory has %v, %v", entries, err)
	}
	if left, _ := os.ReadDir(f.keeper.Maker.TempDir); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestAddresses(t *testing.T) {
	for _, bad := range []string{"", "backups", "ftp://x", "s3://key:secret@bucket", "file://host/dir", "gs://bucket", "s3://", "s3://bucket/dir"} {
		err := snapshot.CheckAddress(bad)
		if core.CodeOf(err) != core.CodeInvalid {
			t.Errorf("%q: %v", bad, err)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: the error shows the password: %v", bad, err)
		}
	}
	for _, good := range []string{"/backups", "file:///backups", "s3://bucket?region=eu-1&prefix=a/"} {
		if err := snapshot.CheckAddress(good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
}

func TestExpired(t *testing.T) {
	now := time.Date(2026, 1, 10, 0, 0, 0, 0, time.UTC)
	var files []core.SnapshotFile
	for day := range 6 {
		files = append(files, core.SnapshotFile{Name: fmt.Sprint(day), Time: now.AddDate(0, 0, -day)})
	}
	tests := []struct {
		name    string
		keep    int
		keepFor time.Duration
		want    string
	}{
		{"number", 2, 0, "2 3 4 5"},
		{"age", 0, 49 * time.Hour, "3 4 5"},
		{"both", 4, 25 * time.Hour, "2 3 4 5"},
		{"the newest stays", 0, time.Nanosecond, "1 2 3 4 5"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			for _, f := range snapshot.Expired(files, tt.keep, tt.keepFor, now) {
				got = append(got, f.Name)
			}
			if strings.Join(got, " ") != tt.want {
				t.Errorf("expired %v, want %s", got, tt.want)
			}
		})
	}
}
