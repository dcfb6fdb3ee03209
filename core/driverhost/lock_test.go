package driverhost_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/driverhost"
	"github.com/instarhq/instar/core/driverhost/lockfile"
)

func TestLockFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	binary := filepath.Join(dir, "instar-compute-x")
	write := func(content string) {
		t.Helper()
		if err := os.WriteFile(binary, []byte(content), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write("one")
	lock := lockfile.Open(filepath.Join(dir, "lock.json"))
	if _, err := lock.Verify(binary); core.CodeOf(err) != core.CodeDenied || !strings.Contains(err.Error(), "not in the lock file") {
		t.Errorf("unknown binary: %v", err)
	}
	one, err := lock.Lock(binary)
	if err != nil || one != core.DigestBytes([]byte("one")) {
		t.Fatalf("lock: %s, %v", one, err)
	}
	if _, err := lock.Verify(binary); err != nil {
		t.Errorf("locked binary: %v", err)
	}

	write("two")
	_, err = lock.Verify(binary)
	e, ok := core.AsError(err)
	two := core.DigestBytes([]byte("two"))
	if !ok || e.Code != core.CodeDenied {
		t.Fatalf("changed binary: %v", err)
	}
	for _, part := range []string{binary, string(one), string(two)} {
		if !strings.Contains(e.Message, part) {
			t.Errorf("message %q does not name %s", e.Message, part)
		}
	}
	if !strings.Contains(e.Hint, "instard lock -data-dir "+dir+" "+binary) {
		t.Errorf("hint is %q", e.Hint)
	}

	if err := lock.Unlock("instar-compute-x"); err != nil {
		t.Fatal(err)
	}
	if entries, err := lock.Entries(); err != nil || len(entries) != 0 {
		t.Errorf("entries after unlock: %v, %v", entries, err)
	}
}

func TestDamagedLockFileRefusesEverything(t *testing.T) {
	t.Parallel()
	cfg := config(t, install(t, "instar-compute-good"))
	for _, content := range []string{"{", `{"format": 7}`} {
		if err := os.WriteFile(cfg.LockFile, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		drivers, problems := start(t, cfgIn(cfg, t.TempDir())).Discover(t.Context())
		if len(drivers) != 0 || len(problems) != 1 || !strings.Contains(problems[0].Error(), cfg.LockFile) {
			t.Errorf("with %q: %v, %v", content, drivers, problems)
		}
	}
}

// cfgIn is cfg with another state directory.
func cfgIn(cfg driverhost.Config, dir string) driverhost.Config {
	cfg.StateDir = dir
	return cfg
}

func TestWithoutAutoLockNothingIsLaunched(t *testing.T) {
	t.Parallel()
	cfg := config(t, install(t, "instar-compute-good"))
	cfg.AutoLock = false
	h := start(t, cfg)
	if err := h.Open(t.Context(), good("one")); core.CodeOf(err) != core.CodeDenied {
		t.Errorf("open: %v", err)
	}
	binary := filepath.Join(cfg.PluginDirs[0], "instar-compute-good")
	want := fmt.Sprintf("instard lock -data-dir %s %s", filepath.Dir(cfg.LockFile), binary)
	eventually(t, 30*time.Second, "a reason that says what to do", func() bool { return strings.Contains(h.Targets()[0].Reason, want) })
	if _, err := lockfile.Open(cfg.LockFile).Lock(binary); err != nil {
		t.Fatal(err)
	}
	healthy(t, h)
}
