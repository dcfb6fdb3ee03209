package artifact_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/instarhq/instar/plugins/compute/process/artifact"
	"github.com/instarhq/instar/sdk"
)

func open(t *testing.T) (*artifact.Store, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "artifacts")
	store, err := artifact.Open(dir, small)
	if err != nil {
		t.Fatal(err)
	}
	return store, dir
}

func ingest(t *testing.T, s *artifact.Store, source string) string {
	t.Helper()
	digest, err := s.Ingest(t.Context(), artifact.Ref{Source: source}, nil)
	if err != nil {
		t.Fatalf("Ingest %s: %v", source, err)
	}
	return digest
}

func unpack(t *testing.T, s *artifact.Store, digest string) artifact.Tree {
	t.Helper()
	tree, err := s.Tree(t.Context(), artifact.Ref{Digest: digest}, nil)
	if err != nil {
		t.Fatalf("Tree %s: %v", digest, err)
	}
	return tree
}

func write(t *testing.T, path, content string, mode os.FileMode) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	return path
}

// sample is a directory with everything that an artifact may hold.
func sample(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "bin", "web"), "program\n", 0o4755)
	write(t, filepath.Join(dir, "etc", "web.conf"), "setting\n", 0o600)
	write(t, filepath.Join(dir, "größe mit leerzeichen"), "", 0o644)
	for _, empty := range []string{"logs", "etc-old"} {
		if err := os.Mkdir(filepath.Join(dir, empty), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for name, target := range map[string]string{"current": "bin", "bin/up": "../etc/web.conf", "dangling": "not/there"} {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// The digest of a directory depends on what is in it alone, and stays the same for ever: services are
// pinned to it.
func TestDirectoryDigest(t *testing.T) {
	const want = "sha256:c8bcbb496537f736f03138dbea90591033f81bdf7766c6c581af7fdb15cd2283"
	s, _ := open(t)
	if got := ingest(t, s, sample(t)); got != want {
		t.Errorf("the digest of the sample is %s, and was %s in the first release", got, want)
	}
	base := ingest(t, s, sample(t))
	for name, change := range map[string]func(dir string) error{
		"content":    func(dir string) error { return os.WriteFile(filepath.Join(dir, "etc", "web.conf"), []byte("x"), 0o600) },
		"executable": func(dir string) error { return os.Chmod(filepath.Join(dir, "etc", "web.conf"), 0o755) },
		"name":       func(dir string) error { return os.Rename(filepath.Join(dir, "logs"), filepath.Join(dir, "log")) },
		"target": func(dir string) error {
			return errors.Join(os.Remove(filepath.Join(dir, "current")), os.Symlink("etc", filepath.Join(dir, "current")))
		},
		"empty directory": func(dir string) error { return os.Mkdir(filepath.Join(dir, "more"), 0o755) },
	} {
		dir := sample(t)
		if err := change(dir); err != nil {
			t.Fatal(err)
		}
		if got := ingest(t, s, dir); got == base {
			t.Errorf("another %s gives the same digest", name)
		}
	}
	dir := sample(t)
	if err := os.Chtimes(filepath.Join(dir, "bin", "web"), time.Unix(1, 0), time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	if got := ingest(t, s, dir); got != base {
		t.Error("another time gives another digest")
	}
}

// A tree holds what the source held, readable for everybody, writable for nobody, without special bits.
func TestTree(t *testing.T) {
	s, _ := open(t)
	tree := unpack(t, s, ingest(t, s, sample(t)))
	dirs := os.ModeDir | 0o555
	if os.Geteuid() != 0 {
		dirs |= 0o200 // so that people can remove what they have made
	}
	for name, want := range map[string]os.FileMode{
		".": dirs, "bin/web": 0o555, "etc/web.conf": 0o444, "logs": dirs, "current": os.ModeSymlink | 0o777,
	} {
		info, err := os.Lstat(filepath.Join(tree.Dir, name))
		if err != nil || info.Mode() != want {
			t.Errorf("%s has mode %v, %v; want %v", name, info.Mode(), err, want)
		}
	}
	data, err := os.ReadFile(filepath.Join(tree.Dir, "current", "up"))
	if err != nil || string(data) != "setting\n" {
		t.Errorf("through two links there is %q, %v", data, err)
	}
	if again := unpack(t, s, ingest(t, s, sample(t))); again != tree {
		t.Errorf("the same artifact again is %+v, and was %+v", again, tree)
	}
}

// Hard links within an archive become one file.
func TestHardLinks(t *testing.T) {
	s, _ := open(t)
	var b bytes.Buffer
	pack(t, &b, file("a", "text"), hardlink("d/b", "a"), hardlink("c", "d/b"))
	tree := unpack(t, s, ingest(t, s, write(t, filepath.Join(t.TempDir(), "x.tar"), b.String(), 0o644)))
	for _, name := range []string{"a", "d/b", "c"} {
		if data, err := os.ReadFile(filepath.Join(tree.Dir, name)); err != nil || string(data) != "text" {
			t.Errorf("%s is %q, %v", name, data, err)
		}
	}
}

// What was resolved stays, whatever becomes of the source; a source that is needed must still be the same.
func TestSourceChangesLater(t *testing.T) {
	s, _ := open(t)
	source := write(t, filepath.Join(t.TempDir(), "web"), "#!/bin/sh\n", 0o755)
	digest := ingest(t, s, source)
	write(t, source, "something else\n", 0o755)
	tree := unpack(t, s, digest)
	if data, err := os.ReadFile(filepath.Join(tree.Dir, artifact.Single)); err != nil || string(data) != "#!/bin/sh\n" || !tree.Single {
		t.Errorf("the tree has %q, %v", data, err)
	}
	elsewhere, _ := open(t)
	_, err := elsewhere.Tree(t.Context(), artifact.Ref{Source: source, Digest: digest}, nil)
	if sdk.CodeOf(err) != sdk.CodeNotFound || !strings.Contains(err.Error(), "has changed since it was pinned") {
		t.Errorf("fetching a changed source: %v", err)
	}
	_, err = elsewhere.Tree(t.Context(), artifact.Ref{Digest: digest}, nil)
	if sdk.CodeOf(err) != sdk.CodeNotFound {
		t.Errorf("fetching without a source: %v", err)
	}
}

func TestBadSources(t *testing.T) {
	s, _ := open(t)
	private := write(t, filepath.Join(t.TempDir(), "app.zip"), "PK\x03\x04", 0o644)
	for source, c := range map[string]struct {
		code sdk.Code
		part string
	}{
		"./relative":            {sdk.CodeInvalidConfig, "absolute"},
		"/no/such/file":         {sdk.CodeNotFound, "does not exist"},
		"/dev/null":             {sdk.CodeInvalidConfig, "neither"},
		"ftp://host/x":          {sdk.CodeInvalidConfig, "scheme"},
		"http://127.0.0.1:1/x":  {sdk.CodeInvalidConfig, "required for http"},
		"https://127.0.0.1:1/x": {sdk.CodeUnavailable, "refused"},
		"https:///x":            {sdk.CodeInvalidConfig, "no host"},
		private:                 {sdk.CodeInvalidConfig, "zip is not supported"},
		"file:///no/such/file":  {sdk.CodeNotFound, "does not exist"},
	} {
		_, err := s.Ingest(t.Context(), artifact.Ref{Source: source}, nil)
		if sdk.CodeOf(err) != c.code || !strings.Contains(err.Error(), c.part) {
			t.Errorf("%s: %v\nwant %s with %q", source, err, c.code, c.part)
		}
	}
	_, err := s.Ingest(t.Context(), artifact.Ref{Source: private, Checksum: "md5:1"}, nil)
	if sdk.CodeOf(err) != sdk.CodeInvalidConfig || !strings.HasPrefix(err.Error(), "artifact.checksum: ") {
		t.Errorf("a checksum of another kind: %v", err)
	}
}

// However many ask at the same time, an artifact is unpacked once.
func TestConcurrentFetches(t *testing.T) {
	s, dir := open(t)
	digest := ingest(t, s, sample(t))
	var group sync.WaitGroup
	for range 32 {
		group.Go(func() { unpack(t, s, digest) })
	}
	group.Wait()
	trees, err := filepath.Glob(filepath.Join(dir, "trees", "*.json"))
	if err != nil || len(trees) != 1 {
		t.Errorf("there are trees %v, %v", trees, err)
	}
	if left, err := os.ReadDir(filepath.Join(dir, "tmp")); err != nil || len(left) != 0 {
		t.Errorf("tmp has %v, %v", left, err)
	}
}

// A tree that somebody has changed is seen, and never given out again.
func TestChangedTree(t *testing.T) {
	s, _ := open(t)
	digest := ingest(t, s, sample(t))
	tree := unpack(t, s, digest)
	for name, change := range map[string]func(dir string) error{
		"content": func(dir string) error {
			return errors.Join(os.Chmod(filepath.Join(dir, "bin", "web"), 0o755), os.WriteFile(filepath.Join(dir, "bin", "web"), []byte("evil\n"), 0))
		},
		"file removed": func(dir string) error {
			return errors.Join(os.Chmod(filepath.Join(dir, "etc"), 0o755), os.Remove(filepath.Join(dir, "etc", "web.conf")))
		},
		"file added": func(dir string) error {
			return errors.Join(os.Chmod(filepath.Join(dir, "logs"), 0o755), os.WriteFile(filepath.Join(dir, "logs", "x"), nil, 0o600))
		},
		"tree removed": func(dir string) error { return os.Rename(dir, filepath.Join(t.TempDir(), "gone")) },
	} {
		if err := change(tree.Dir); err != nil {
			t.Fatal(err)
		}
		sum, err := s.Sum(tree.Name)
		if err != nil || sum == tree.Sum {
			t.Errorf("%s: the sum of the changed tree is %s, %v, as before", name, sum, err)
		}
		next := unpack(t, s, digest)
		if next.Name == tree.Name || next.Sum != tree.Sum {
			t.Errorf("%s: the artifact is now %+v, and was %+v", name, next, tree)
		}
		tree = next
	}
}

// A blob that the disk has damaged is recognised when it is unpacked, and fetched again from its source.
func TestDamagedBlob(t *testing.T) {
	s, dir := open(t)
	source := sample(t)
	digest := ingest(t, s, source)
	blob := filepath.Join(dir, "blobs", strings.TrimPrefix(digest, "sha256:"))
	data, err := os.ReadFile(blob)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 1
	if err := errors.Join(os.Chmod(blob, 0o600), os.WriteFile(blob, data, 0)); err != nil {
		t.Fatal(err)
	}
	ref := artifact.Ref{Source: source, Digest: digest}
	if _, err := s.Tree(t.Context(), ref, nil); sdk.CodeOf(err) != sdk.CodeUnavailable || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("a damaged blob: %v", err)
	}
	if _, err := s.Tree(t.Context(), ref, nil); err != nil {
		t.Errorf("after that: %v", err)
	}
}

func TestPrune(t *testing.T) {
	s, dir := open(t)
	fetched := func(text string) (string, artifact.Tree) {
		digest := ingest(t, s, write(t, filepath.Join(t.TempDir(), "web"), text, 0o755))
		return digest, unpack(t, s, digest)
	}
	kept, _ := fetched("kept")
	_, used := fetched("used")
	_, unused := fetched("unused")
	resolved := ingest(t, s, write(t, filepath.Join(t.TempDir(), "web"), "only resolved", 0o755))
	freed, err := s.Prune([]string{kept}, []string{used.Name})
	if err != nil || freed != 2*int64(len("unused")) {
		t.Errorf("Prune freed %d, %v; want the file and its unpacked copy", freed, err)
	}
	if _, err := os.Stat(unused.Dir); !os.IsNotExist(err) {
		t.Errorf("the unused tree is still there: %v", err)
	}
	for _, digest := range []string{kept, resolved} {
		unpack(t, s, digest)
	}
	if sum, err := s.Sum(used.Name); err != nil || sum != used.Sum {
		t.Errorf("the used tree is %s, %v", sum, err)
	}
	// A crash in the middle is tidied up by the next Open.
	write(t, filepath.Join(dir, "tmp", "tree-1", "a"), "x", 0o400)
	if err := os.Chmod(filepath.Join(dir, "tmp", "tree-1"), 0o555); err != nil {
		t.Fatal(err)
	}
	if _, err := artifact.Open(dir, small); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(filepath.Join(dir, "tmp")); err != nil || len(left) != 0 {
		t.Errorf("tmp has %v, %v", left, err)
	}
}

// server serves one program in several ways.
func server(t *testing.T, content string, requests *atomic.Int64) string {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("/app/web", func(w http.ResponseWriter, _ *http.Request) {
		requests.Add(1)
		fmt.Fprint(w, content)
	})
	mux.HandleFunc("/short", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "1000")
		fmt.Fprint(w, content)
	})
	mux.HandleFunc("/busy", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "busy", http.StatusServiceUnavailable) })
	mux.HandleFunc("/private", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusForbidden) })
	mux.HandleFunc("/large", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(small.Bytes+1))
	})
	mux.HandleFunc("/hangs", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	return srv.URL
}

func TestDownload(t *testing.T) {
	s, _ := open(t)
	program := "#!/bin/sh\n"
	want := ingest(t, s, write(t, filepath.Join(t.TempDir(), "web"), program, 0o755))
	var requests atomic.Int64
	url := server(t, program, &requests)
	elsewhere, _ := open(t)
	var digest string
	for _, checksum := range []string{want, strings.ToUpper(want)} {
		var err error
		digest, err = elsewhere.Ingest(t.Context(), artifact.Ref{Source: url + "/app/web", Checksum: checksum}, nil)
		if err != nil || digest != want {
			t.Errorf("Ingest: %s, %v; want %s", digest, err, want)
		}
	}
	if requests.Load() != 1 {
		t.Errorf("what the checksum names was downloaded %d times", requests.Load())
	}
	unpack(t, elsewhere, digest)
	other := "sha256:" + strings.Repeat("0", 64)
	for path, c := range map[string]struct {
		code sdk.Code
		part string
	}{
		"/app/web": {sdk.CodeInvalidConfig, "artifact.checksum"}, "/none": {sdk.CodeNotFound, "404"}, "/busy": {sdk.CodeUnavailable, "503"},
		"/private": {sdk.CodeInvalidConfig, "403"}, "/short": {sdk.CodeUnavailable, "unexpected EOF"}, "/large": {sdk.CodeInvalidConfig, "the limit is"},
	} {
		_, err := elsewhere.Ingest(t.Context(), artifact.Ref{Source: url + path, Checksum: other}, nil)
		if sdk.CodeOf(err) != c.code || !strings.Contains(err.Error(), c.part) {
			t.Errorf("%s: %v\nwant %s with %q", path, err, c.code, c.part)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := elsewhere.Ingest(ctx, artifact.Ref{Source: url + "/hangs", Checksum: other}, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a cancelled download: %v", err)
	}
}
