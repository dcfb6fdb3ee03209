package artifact_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/instarhq/instar/plugins/compute/process/artifact"
	"github.com/instarhq/instar/sdk"
)

var (
	small = artifact.Limits{Bytes: 1 << 20, Entries: 1000}
	large = artifact.Limits{Bytes: 1 << 30, Entries: 1000}
)

// entry is a tar entry; its body is Body or, if that is empty, as many zeros as Size says.
type entry struct {
	tar.Header
	Body string
}

func pack(t *testing.T, w io.Writer, entries ...entry) {
	t.Helper()
	out := tar.NewWriter(w)
	for _, e := range entries {
		if e.Mode == 0 {
			e.Mode = 0o755
		}
		if e.Body != "" {
			e.Size = int64(len(e.Body))
		}
		if err := out.WriteHeader(&e.Header); err != nil {
			t.Fatal(err)
		}
		body := io.Reader(strings.NewReader(e.Body))
		if e.Body == "" {
			body = io.LimitReader(zeros{}, e.Size)
		}
		if _, err := io.Copy(out, body); err != nil {
			t.Fatal(err)
		}
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func file(name, body string) entry {
	return entry{Header: tar.Header{Name: name, Typeflag: tar.TypeReg}, Body: body}
}

func dir(name string) entry {
	return entry{Header: tar.Header{Name: name, Typeflag: tar.TypeDir}}
}

func symlink(name, target string) entry {
	return entry{Header: tar.Header{Name: name, Linkname: target, Typeflag: tar.TypeSymlink}}
}

func hardlink(name, target string) entry {
	return entry{Header: tar.Header{Name: name, Linkname: target, Typeflag: tar.TypeLink}}
}

func special(name string, kind byte) entry {
	return entry{Header: tar.Header{Name: name, Typeflag: kind, Devmajor: 1, Devminor: 3}}
}

// Archives that must be refused, each with a word of the reason.
func TestHostileArchives(t *testing.T) {
	many := make([]entry, small.Entries+1)
	for n := range many {
		many[n] = file(fmt.Sprintf("f%d", n), "x")
	}
	for name, c := range map[string]struct {
		entries []entry
		reason  string
	}{
		"parent":                      {[]entry{file("../evil", "x")}, "leaves the tree"},
		"parent in the middle":        {[]entry{file("a/../../evil", "x")}, "leaves the tree"},
		"parent at the end":           {[]entry{dir("a/..")}, "leaves the tree"},
		"absolute":                    {[]entry{file("/etc/evil", "x")}, "absolute"},
		"absolute link":               {[]entry{symlink("a", "/etc/passwd")}, "must be relative"},
		"link out":                    {[]entry{symlink("a", "../x")}, "leads out"},
		"link out from below":         {[]entry{symlink("d/a", "../../x")}, "leads out"},
		"link out by way of another":  {[]entry{dir("d"), symlink("d/l", ".."), symlink("x", "d/l/../..")}, "leads out"},
		"link out past what is there": {[]entry{symlink("x", "no/../../y")}, "leads out"},
		"links in a circle":           {[]entry{symlink("a", "b"), symlink("b", "a")}, "circle"},
		"link to itself":              {[]entry{symlink("a", "a/x")}, "circle"},
		"file through a link":         {[]entry{symlink("a", "."), file("a/b", "x")}, "no directory"},
		"link in a directory's place": {[]entry{dir("a"), symlink("a", "b")}, "twice"},
		"file through a link later":   {[]entry{file("a/b", "x"), symlink("a", "c")}, "twice"},
		"file below a file":           {[]entry{file("a", "x"), file("a/b", "x")}, "no directory"},
		"file twice":                  {[]entry{file("a", "x"), file("./a", "y")}, "twice"},
		"hard link out":               {[]entry{hardlink("a", "../../etc/passwd")}, "leaves the tree"},
		"hard link to the system":     {[]entry{hardlink("a", "/etc/passwd")}, "absolute"},
		"hard link to nothing":        {[]entry{hardlink("a", "b")}, "no earlier file"},
		"hard link to a link":         {[]entry{symlink("b", "c"), hardlink("a", "b")}, "no earlier file"},
		"character device":            {[]entry{special("null", tar.TypeChar)}, "device"},
		"block device":                {[]entry{special("sda", tar.TypeBlock)}, "device"},
		"named pipe":                  {[]entry{special("pipe", tar.TypeFifo)}, "named pipe"},
		"unknown kind":                {[]entry{special("odd", 'Z')}, "special entry"},
		"too many entries":            {many, "more than 1000 entries"},
		"too many directories":        {[]entry{file(strings.Repeat("d/", 1001)+"f", "x")}, "more than 1000 entries"},
		"large file":                  {[]entry{{Header: tar.Header{Name: "a", Size: small.Bytes + 1, Typeflag: tar.TypeReg}}}, "limit"},
		"large together": {[]entry{
			{Header: tar.Header{Name: "a", Size: small.Bytes/2 + 1, Typeflag: tar.TypeReg}},
			{Header: tar.Header{Name: "b", Size: small.Bytes/2 + 1, Typeflag: tar.TypeReg}},
		}, "take more than"},
		"empty": {nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var packed bytes.Buffer
			z := gzip.NewWriter(&packed)
			pack(t, z, append([]entry{file("first", "innocent")}, c.entries...)...)
			if name == "empty" {
				packed.Reset()
				z.Reset(&packed)
				pack(t, z, dir("."))
				c.reason = "empty"
			}
			if err := z.Close(); err != nil {
				t.Fatal(err)
			}
			refused(t, small, packed.Bytes(), c.reason)
		})
	}
}

// refused checks that neither Ingest nor anything else is left of a source.
func refused(t *testing.T, limits artifact.Limits, content []byte, reason string) {
	t.Helper()
	state := t.TempDir()
	store, err := artifact.Open(state, limits)
	if err != nil {
		t.Fatal(err)
	}
	source := filepath.Join(t.TempDir(), "app.tar.gz")
	if err := os.WriteFile(source, content, 0o644); err != nil {
		t.Fatal(err)
	}
	_, err = store.Ingest(t.Context(), artifact.Ref{Source: source}, nil)
	if sdk.CodeOf(err) != sdk.CodeInvalidConfig || !strings.HasPrefix(err.Error(), "artifact.source: ") || !strings.Contains(err.Error(), reason) {
		t.Errorf("Ingest: %v\nwant InvalidConfig at artifact.source with %q", err, reason)
	}
	for _, folder := range []string{"blobs", "trees", "tmp"} {
		if left, err := os.ReadDir(filepath.Join(state, folder)); err != nil || len(left) != 0 {
			t.Errorf("%s has %v, %v", folder, left, err)
		}
	}
}

// Archives that unpack to far more than any real one are stopped on the way, by ratio and not by size.
func TestBombs(t *testing.T) {
	var plain bytes.Buffer
	pack(t, &plain, entry{Header: tar.Header{Name: "zeros", Size: 20 << 20, Typeflag: tar.TypeReg}})
	// Both formats may be made of several parts, so most of the zeros need to be packed only once.
	head, part := plain.Bytes()[:1<<20], make([]byte, 1<<20)
	refused(t, large, append(gzipped(t, string(head)), bytes.Repeat(gzipped(t, string(part)), 20)...), "far more")
	z, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	refused(t, large, append(z.EncodeAll(head, nil), bytes.Repeat(z.EncodeAll(part, nil), 20)...), "far more")
}

// Damage of any kind is recognised and named.
func TestDamagedArchives(t *testing.T) {
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	pack(t, z, file("a", strings.Repeat("some text that does not end\n", 5000)), file("b", "x"))
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	whole := packed.Bytes()
	zs, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	var plain bytes.Buffer
	pack(t, &plain, file("a", "text"))
	flipped := bytes.Clone(whole)
	flipped[len(flipped)/2] ^= 0xff
	for name, c := range map[string]struct {
		content []byte
		reason  string
	}{
		"truncated gzip": {whole[:len(whole)/2], ""}, "bit error": {flipped, ""}, "only a header": {whole[:12], ""},
		"truncated tar": {plain.Bytes()[:514], "truncated"}, "empty file": {nil, "empty"},
		"gzip of text":   {gzipped(t, "just text"), "not a tar archive"},
		"zstd of text":   {zs.EncodeAll([]byte("just text"), nil), "not a tar archive"},
		"truncated zstd": {zs.EncodeAll(plain.Bytes(), nil)[:30], ""},
		"xz":             {[]byte("\xfd7zXZ\x00 and so on"), "xz"}, "bzip2": {[]byte("BZh91AY"), "bzip2"}, "deb": {[]byte("!<arch>\ndebian"), "ar"},
	} {
		t.Run(name, func(t *testing.T) { refused(t, small, c.content, c.reason) })
	}
}

func gzipped(t *testing.T, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// FuzzIngest feeds arbitrary bytes: whatever they are, nothing may be written outside the store.
func FuzzIngest(f *testing.F) {
	f.Add([]byte("plain"))
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := w.WriteHeader(&tar.Header{Name: "../x", Typeflag: tar.TypeReg, Mode: 0o644}); err != nil {
		f.Fatal(err)
	}
	if err := w.Close(); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Fuzz(func(t *testing.T, content []byte) {
		top := t.TempDir()
		store, err := artifact.Open(filepath.Join(top, "store"), artifact.Limits{Bytes: 1 << 20, Entries: 100})
		if err != nil {
			t.Fatal(err)
		}
		source := filepath.Join(top, "source")
		if err := os.WriteFile(source, content, 0o600); err != nil {
			t.Fatal(err)
		}
		digest, err := store.Ingest(t.Context(), artifact.Ref{Source: source}, nil)
		if err == nil {
			_, err = store.Tree(t.Context(), artifact.Ref{Digest: digest}, nil)
		}
		if err != nil && sdk.CodeOf(err) != sdk.CodeInvalidConfig {
			t.Errorf("%v", err)
		}
		if left, err := os.ReadDir(top); err != nil || len(left) != 2 {
			t.Errorf("beside the store there is %v, %v", left, err)
		}
	})
}
