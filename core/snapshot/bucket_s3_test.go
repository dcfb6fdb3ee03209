package snapshot_test

import (
	"crypto/rand"
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/snapshot"
)

func TestS3(t *testing.T) {
	f, server := newFixture(t), newS3(t)
	address := server.address(bucketName)
	var names []string
	for i := range 4 {
		f.now = f.now.Add(time.Hour)
		f.state.head.Size = uint64(100 + i)
		file, _, err := f.keeper.Save(t.Context(), address, true, nil)
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, file.Name)
	}
	others := []string{"dev-g1-s9-20200101T000000Z.instar", "prod/dev-notes.txt", "prod/other-g1-s1-20200101T000000Z.instar"}
	for _, name := range others {
		server.put(t, name)
	}
	files, err := f.keeper.List(t.Context(), address, "dev")
	if err != nil || len(files) != 4 || files[0].Name != names[3] || files[0].Seq != 103 || files[0].Bytes < 1000 {
		t.Fatalf("files %+v, %v", files, err)
	}
	gone, err := f.keeper.Prune(t.Context(), address, "dev", 2, 0)
	if err != nil || len(gone) != 2 || gone[0].Name != names[1] || gone[1].Name != names[0] {
		t.Errorf("pruned %+v, %v", gone, err)
	}
	want := append(slices.Clone(others), "prod/"+names[2], "prod/"+names[3])
	slices.Sort(want)
	if got := server.inBucket(t); !slices.Equal(got, want) {
		t.Errorf("the bucket has %q, want %q", got, want)
	}
	file, report, err := f.keeper.Drill(t.Context(), address, "dev", f.trust)
	if err != nil || file.Name != names[3] || !report.Restored {
		t.Errorf("drill of %s: %+v, %v", file.Name, report, err)
	}
	f.state.head.Size = 102
	// What restore and verify are given is the address of a file.
	r, err := snapshot.OpenFile(t.Context(), strings.Replace(address, "?", "/"+names[2]+"?", 1))
	if err != nil {
		t.Fatal(err)
	}
	report, err = f.keeper.Verify(t.Context(), r, f.trust, true)
	if err = errors.Join(err, r.Close()); err != nil || !report.Restored || report.Records != 102 {
		t.Errorf("%+v, %v", report, err)
	}
	for _, request := range server.seen() {
		if strings.Contains(request, "accept-encoding") {
			t.Errorf("a header that proxies rewrite is signed: %s", request)
		}
	}
}

// manyParts makes a state that is uploaded in several parts.
func manyParts(f *fixture) {
	f.state.data = make([]byte, 18<<20)
	_, _ = rand.Read(f.state.data)
}

func TestS3InParts(t *testing.T) {
	f, server := newFixture(t), newS3(t)
	manyParts(f)
	if _, _, err := f.keeper.Save(t.Context(), server.address(bucketName), false, nil); err != nil {
		t.Fatal(err)
	}
	if requests := strings.Join(server.seen(), "\n"); !strings.Contains(requests, "partNumber=3") {
		t.Errorf("it was not uploaded in parts: %s", requests)
	}
	if _, report, err := f.keeper.Drill(t.Context(), server.address(bucketName), "dev", f.trust); err != nil || !report.Restored {
		t.Errorf("%+v, %v", report, err)
	}
}

// An endpoint of one's own has an authority of one's own.
func TestS3OverTLS(t *testing.T) {
	f, server := newFixture(t), newS3(t)
	secure := httptest.NewTLSServer(server.handler)
	defer secure.Close()
	address := strings.Replace(server.address(bucketName), server.url, secure.URL, 1)
	if _, err := f.keeper.List(t.Context(), address, "dev"); core.CodeOf(err) != core.CodeUnavailable || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("a server that nobody vouches for: %v", err)
	}
	authority := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(authority, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("AWS_CA_BUNDLE", authority)
	if _, _, err := f.keeper.Save(t.Context(), address, false, nil); err != nil {
		t.Fatal(err)
	}
	if _, report, err := f.keeper.Drill(t.Context(), address, "dev", f.trust); err != nil || !report.Restored {
		t.Errorf("%+v, %v", report, err)
	}
}

func hangUp(_ http.ResponseWriter, r *http.Request) bool {
	_, _ = io.CopyN(io.Discard, r.Body, 1000)
	panic(http.ErrAbortHandler)
}

func TestS3ThatFails(t *testing.T) {
	tests := []struct {
		name   string
		bucket string
		env    map[string]string
		meddle func(http.ResponseWriter, *http.Request) bool
		code   core.Code
		says   string
		hint   string
	}{
		{name: "no bucket", bucket: "none", code: core.CodeNotFound, says: "NoSuchBucket", hint: "create the bucket"},
		{
			name: "unknown key", env: map[string]string{"AWS_ACCESS_KEY_ID": "other"}, code: core.CodeDenied,
			says: "InvalidAccessKeyId", hint: "AWS_ACCESS_KEY_ID",
		},
		{
			name: "wrong secret", env: map[string]string{"AWS_SECRET_ACCESS_KEY": "other"}, code: core.CodeDenied,
			says: "SignatureDoesNotMatch", hint: "AWS_SECRET_ACCESS_KEY",
		},
		{
			name: "no credentials", env: map[string]string{"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}, code: core.CodeDenied,
			says: "no credentials", hint: "AWS_ACCESS_KEY_ID",
		},
		{
			name: "not allowed", meddle: func(w http.ResponseWriter, _ *http.Request) bool { refuse(w, "AccessDenied"); return true },
			code: core.CodeDenied, says: "AccessDenied: No", hint: "must be allowed",
		},
		{name: "silent", meddle: func(_ http.ResponseWriter, r *http.Request) bool {
			_, _ = io.Copy(io.Discard, r.Body) // only then is it seen that the client has gone
			<-r.Context().Done()
			return true
		}, code: core.CodeUnavailable, says: "does not answer", hint: "endpoint"},
		{name: "cut off", meddle: hangUp, code: core.CodeUnavailable, says: "cut off", hint: "try again"},
		{
			name: "ill", meddle: func(w http.ResponseWriter, _ *http.Request) bool {
				w.WriteHeader(http.StatusServiceUnavailable)
				return true
			},
			code: core.CodeUnavailable, says: "ServiceUnavailable",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f, server := newFixture(t), newS3(t)
			if tt.name == "silent" {
				f.keeper.Patience = 200 * time.Millisecond
			}
			for name, value := range tt.env {
				t.Setenv(name, value)
			}
			server.meddleWith(tt.meddle)
			if tt.bucket == "" {
				tt.bucket = bucketName
			}
			address := server.address(tt.bucket)
			_, _, saved := f.keeper.Save(t.Context(), address, false, nil)
			_, listed := f.keeper.List(t.Context(), address, "dev")
			_, pruned := f.keeper.Prune(t.Context(), address, "dev", 1, 0)
			_, _, drilled := f.keeper.Drill(t.Context(), address, "dev", f.trust)
			for what, err := range map[string]error{"save": saved, "list": listed, "prune": pruned, "drill": drilled} {
				e, ok := core.AsError(err)
				if !ok || e.Code != tt.code || !strings.Contains(e.Error(), tt.says) || !strings.Contains(e.Hint, tt.hint) ||
					!strings.Contains(e.Error(), "s3://"+tt.bucket+"?") || strings.Contains(e.Error(), secret) {
					t.Errorf("%s: %s error %v, hint %+v", what, core.CodeOf(err), err, e)
				}
			}
			_, _, again := f.keeper.Save(t.Context(), address, false, nil)
			if again == nil || again.Error() != saved.Error() {
				t.Errorf("the second time it says\n%v\nthe first\n%v", again, saved)
			}
			if got := server.inBucket(t); len(got) != 0 {
				t.Errorf("the bucket has %q", got)
			}
		})
	}
}

// An upload that breaks in the middle leaves nothing that could be taken for a snapshot, nor parts that
// cost money; the next one is whole.
func TestS3UploadCutOff(t *testing.T) {
	f, server := newFixture(t), newS3(t)
	manyParts(f)
	server.meddleWith(func(w http.ResponseWriter, r *http.Request) bool {
		return r.URL.Query().Get("partNumber") == "2" && hangUp(w, r)
	})
	address := server.address(bucketName)
	_, _, err := f.keeper.Save(t.Context(), address, false, nil)
	if core.CodeOf(err) != core.CodeUnavailable || !strings.Contains(err.Error(), "s3://backups?") {
		t.Errorf("error %v", err)
	}
	if got := server.inBucket(t); len(got) != 0 {
		t.Errorf("the bucket has %q", got)
	}
	if files, err := f.keeper.List(t.Context(), address, "dev"); err != nil || len(files) != 0 {
		t.Errorf("listed %v, %v", files, err)
	}
	if !slices.ContainsFunc(server.seen(), func(r string) bool {
		return strings.HasPrefix(r, "DELETE ") && strings.Contains(r, "uploadId=")
	}) {
		t.Error("the parts that were there are left behind")
	}
	server.meddleWith(nil)
	if _, _, err := f.keeper.Save(t.Context(), address, false, nil); err != nil {
		t.Error(err)
	}
	if files, err := f.keeper.List(t.Context(), address, "dev"); err != nil || len(files) != 1 {
		t.Errorf("listed %v, %v", files, err)
	}
}

// A download that breaks says nothing about the snapshot.
func TestS3DownloadCutOff(t *testing.T) {
	f, server := newFixture(t), newS3(t)
	address := server.address(bucketName)
	if _, _, err := f.keeper.Save(t.Context(), address, false, nil); err != nil {
		t.Fatal(err)
	}
	server.meddleWith(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodGet || !strings.HasSuffix(r.URL.Path, ".instar") {
			return false
		}
		w.Header().Set("Content-Length", "100000")
		w.Header().Set("Last-Modified", "Mon, 23 Nov 2026 00:00:00 GMT")
		_, _ = w.Write(f.file(t)[:20_000])
		return hangUp(w, r)
	})
	_, _, err := f.keeper.Drill(t.Context(), address, "dev", f.trust)
	if core.CodeOf(err) != core.CodeUnavailable || !strings.Contains(err.Error(), "s3://backups?") {
		t.Errorf("error %v", err)
	}
}
