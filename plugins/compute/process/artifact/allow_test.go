package artifact_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/instarhq/instar/plugins/compute/process/artifact"
	"github.com/instarhq/instar/sdk"
)

// With Sources, nothing else can be deployed, however it is written.
func TestSources(t *testing.T) {
	top := t.TempDir()
	allowed, secret := filepath.Join(top, "allowed"), write(t, filepath.Join(top, "secret", "key"), "secret", 0o600)
	program := write(t, filepath.Join(allowed, "web"), "#!/bin/sh\n", 0o755)
	write(t, filepath.Join(top, "allowed-not", "web"), "#!/bin/sh\n", 0o755)
	for name, target := range map[string]string{"link": secret, "dir": filepath.Dir(secret), "inside": "web"} {
		if err := os.Symlink(target, filepath.Join(allowed, name)); err != nil {
			t.Fatal(err)
		}
	}
	s, _ := open(t)
	digest := ingest(t, s, program)
	var requests atomic.Int64
	url := server(t, "#!/bin/sh\n", &requests)
	limits := small
	limits.Sources = []string{filepath.Join(top, "not", "there"), allowed, url + "/app"}
	s, _ = open(t)
	s.SetLimits(limits)
	for source, ok := range map[string]bool{
		program: true, filepath.Join(allowed, "inside"): true, url + "/app/web": true,
		secret: false, filepath.Join(allowed, "link"): false, filepath.Join(allowed, "dir", "key"): false, filepath.Dir(secret): false,
		allowed + "/../secret/key": false, filepath.Join(top, "allowed-not", "web"): false, top: false, "/etc/passwd": false,
		url + "/other": false, url + "/app/../other": false, url + "/app/%2e%2e/other": false, url + "/apple": false, "https://elsewhere/app/web": false,
	} {
		checksum := ""
		if strings.HasPrefix(source, "http") {
			checksum = digest[:len(digest)-1] + "0" // another one, so that the store does not have it yet
		}
		_, err := s.Ingest(t.Context(), artifact.Ref{Source: source, Checksum: checksum}, nil)
		refused := err != nil && strings.Contains(err.Error(), "artifact_sources")
		if refused == ok || refused && sdk.CodeOf(err) != sdk.CodeInvalidConfig {
			t.Errorf("%s: %v; allowed is %v", source, err, ok)
		}
	}
	for base, ok := range map[string]bool{"/srv": true, "https://host/path": true, "relative": false, "ftp://host": false, "https://": false, "https://host/?a": false} {
		if err := artifact.CheckBase(base); (err == nil) != ok {
			t.Errorf("%s: %v", base, err)
		}
	}
	if n := requests.Load(); n != 1 {
		t.Errorf("%d requests were made, want that for the allowed URL", n)
	}
}

// A directory that changes while it is read leads nowhere else and is no mixture.
func TestDirectoryChanges(t *testing.T) {
	dir := t.TempDir()
	secret := write(t, filepath.Join(t.TempDir(), "key"), "secret", 0o600)
	for n := range 50 {
		write(t, filepath.Join(dir, fmt.Sprintf("%02d", n), "f"), "text", 0o644)
	}
	stop := make(chan struct{})
	ended := make(chan error, 1)
	go func() {
		defer close(ended)
		for {
			for n := range 50 {
				select {
				case <-stop:
					return
				default:
				}
				path := filepath.Join(dir, fmt.Sprintf("%02d", n))
				if err := os.Rename(path, path+"x"); err != nil {
					ended <- err
					return
				}
				if err := os.Symlink(filepath.Dir(secret), path); err != nil {
					ended <- err
					return
				}
				if err := os.Remove(path); err != nil {
					ended <- err
					return
				}
				if err := os.Rename(path+"x", path); err != nil {
					ended <- err
					return
				}
			}
		}
	}()
	for range 30 {
		s, state := open(t)
		digest, err := s.Ingest(t.Context(), artifact.Ref{Source: dir}, nil)
		if err != nil {
			continue // it noticed
		}
		data, err := os.ReadFile(filepath.Join(state, "blobs", strings.TrimPrefix(digest, "sha256:")))
		if err != nil || strings.Contains(string(data), "secret") {
			t.Fatalf("something from outside was taken: %v", err)
		}
	}
	close(stop)
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
}
