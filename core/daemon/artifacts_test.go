package daemon

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/snapshot/container"
)

// packed is a snapshot file with one artifact under the given names.
func packed(t *testing.T, driver string, digest core.Digest, content string) *bytes.Reader {
	t.Helper()
	dir := t.TempDir()
	state, artifact := filepath.Join(dir, "state"), filepath.Join(dir, "artifact")
	for path, text := range map[string]string{state: "state", artifact: content} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	part := func(text string) core.Part {
		return core.Part{Bytes: int64(len(text)), Digest: core.DigestBytes([]byte(text))}
	}
	manifest := core.Manifest{
		Format: core.Format, Cluster: "c", State: part("state"), Head: core.TreeHead{Origin: "c/1/1", Size: 1},
		Artifacts: []core.SnapshotArtifact{{Driver: driver, Digest: digest, Part: part(content)}},
	}
	var out bytes.Buffer
	if err := container.Write(t.Context(), &out, &manifest, nil, state, []string{artifact}); err != nil {
		t.Fatal(err)
	}
	return bytes.NewReader(out.Bytes())
}

// What a snapshot has is kept, found after a crash, and given to others; half a file is forgotten.
func TestKeepArtifacts(t *testing.T) {
	d := &dataDir{path: t.TempDir()}
	digest := core.DigestBytes([]byte("program"))
	file := packed(t, "process", digest, "program")
	for range 2 { // a restore that a crash has cut short is repeated
		if err := d.keepArtifacts(file); err != nil {
			t.Fatal(err)
		}
	}
	if at, err := file.Seek(0, io.SeekCurrent); err != nil || at != 0 {
		t.Errorf("the file is left at %d, %v; want its beginning", at, err)
	}
	half := filepath.Join(d.file(keptDir), "process", ".new-1")
	if err := os.WriteFile(half, []byte("pro"), 0o600); err != nil {
		t.Fatal(err)
	}
	a := &artifacts{daemon: &Daemon{dir: d}, log: hclog.NewNullLogger(), exports: make(chan struct{}, 1), wake: make(chan struct{}, 1)}
	if err := a.load(); err != nil {
		t.Fatal(err)
	}
	if len(a.kept) != 1 {
		t.Errorf("kept %v, want one artifact", a.kept)
	}
	if _, err := os.Stat(half); err == nil {
		t.Error("half a file is still there")
	}
	if code, text := ask(t, a, artifactKey{"process", digest}); code != http.StatusOK || text != "program" {
		t.Errorf("another node gets %d %q", code, text)
	}
	for _, key := range []artifactKey{{"../x", digest}, {"process", "sha256:../../../etc/passwd"}, {"", ""}} {
		if code, text := ask(t, a, key); code != http.StatusBadRequest {
			t.Errorf("%q is answered with %d %q", key, code, text)
		}
	}
}

// ask asks for an artifact as another member would.
func ask(t *testing.T, a *artifacts, key artifactKey) (code int, text string) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { a.send(w, r, key) }))
	defer server.Close()
	resp, err := server.Client().Get(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

// Names in a snapshot are somebody else's; none leads out of the directory.
func TestKeepArtifactsRefuses(t *testing.T) {
	good := core.DigestBytes([]byte("program"))
	for _, key := range []artifactKey{
		{"..", good},
		{"../../outside", good},
		{"a/b", good},
		{"", good},
		{"process", "sha256:.."},
		{"process", core.Digest("sha256:" + strings.Repeat("A", 64))},
		{"process", "../../outside"},
	} {
		top := t.TempDir()
		d := &dataDir{path: filepath.Join(top, "data")}
		if err := os.Mkdir(d.path, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := d.keepArtifacts(packed(t, key.driver, key.digest, "program")); err == nil {
			t.Errorf("%q is kept", key)
		}
		left, err := os.ReadDir(top)
		if err != nil || len(left) != 1 {
			t.Errorf("%q has made %v, %v", key, left, err)
		}
	}
}
