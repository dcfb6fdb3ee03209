package process_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/instarhq/instar/sdk"
)

// Close ends what is under way, and leaves nothing that moves to the next process.
func TestCloseDuringCreate(t *testing.T) {
	n := newNode(t)
	asked := make(chan struct{}, 1)
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		<-r.Context().Done()
	}))
	defer srv.Close()
	spec := n.spec("./web")
	digest := "sha256:" + strings.Repeat("0", 64)
	spec.Artifact = sdk.Artifact{Source: srv.URL + "/web", Checksum: digest, Digest: digest}
	ended := make(chan error, 1)
	driver := n.driver
	go func() {
		_, err := driver.Create(context.Background(), spec)
		ended <- err
	}()
	<-asked
	n.reopen()
	wantCode(t, <-ended, sdk.CodeUnavailable, "the driver is ending")
	n.wantEmptyState()
}

// A Destroy overtakes a Create that is still downloading; the Create makes nothing then.
func TestDestroyDuringCreate(t *testing.T) {
	n := newNode(t)
	asked, release := make(chan struct{}), make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(asked)
		<-release
		_, _ = w.Write([]byte(hello)) // the client may be gone
	}))
	defer srv.Close()
	spec := n.spec("./web")
	here := n.pin(writeFile(t, "web", hello, 0o755))
	spec.Artifact = sdk.Artifact{Source: srv.URL + "/web", Checksum: here.Digest, Digest: here.Digest}
	n.prune()
	ended := make(chan error, 1)
	go func() {
		_, err := n.driver.Create(context.Background(), spec)
		ended <- err
	}()
	<-asked
	n.destroy(spec.ID, 0)
	close(release)
	wantCode(t, <-ended, sdk.CodeConflict, "was destroyed")
	n.wantEmptyState()
}

func (n *node) prune(keep ...string) int64 {
	n.Helper()
	freed, err := n.driver.Prune(n.Context(), keep)
	if err != nil {
		n.Fatalf("Prune: %v", err)
	}
	return freed
}

// Prune frees what nothing uses, and nothing else.
func TestPrune(t *testing.T) {
	n := newNode(t)
	kept, used := n.pin(writeFile(t, "web", hello+"# kept\n", 0o755)), n.pin(writeFile(t, "web", hello+"# used\n", 0o755))
	spec := n.spec("/bin/sleep", "3600")
	spec.Artifact = used
	made := n.create(spec)
	if freed := n.prune(kept.Digest); freed != 0 {
		t.Errorf("%d bytes were freed although everything is wanted", freed)
	}
	n.reopen()
	n.pin(writeFile(t, "web", hello+"# unused\n", 0o755))
	if freed := n.prune(kept.Digest); freed != 2*int64(len(hello+"# unused\n")) {
		t.Errorf("%d bytes were freed", freed)
	}
	if now := n.inspect(spec.ID); now.Fingerprint != made.Fingerprint || now.State != sdk.StateRunning {
		t.Errorf("the instance is %+v, and was %+v", now, made)
	}
	n.destroy(spec.ID, 0)
	if freed := n.prune(kept.Digest); freed != 2*int64(len(hello+"# used\n")) {
		t.Errorf("%d bytes were freed", freed)
	}
	if freed := n.prune(); freed != 2*int64(len(hello+"# kept\n")) {
		t.Errorf("%d bytes were freed", freed)
	}
}
