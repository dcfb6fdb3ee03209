package driverhost_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/instarhq/instar/core/driverhost"
	"github.com/instarhq/instar/core/driverhost/lockfile"
	"github.com/instarhq/instar/sdk"
)

func TestChangedBinaryTakesOver(t *testing.T) {
	t.Parallel()
	cfg := config(t, install(t, "instar-compute-good"))
	h := start(t, cfg)
	open(t, h, good("one"))
	healthy(t, h)
	old := pid(t, cfg)
	watching := make(chan error, 1)
	go func() {
		watching <- compute(t, h).Watch(t.Context(), func(sdk.Instance) error { return nil })
	}()

	installAs(t, cfg.PluginDirs[0], "instar-compute-good", "changed")
	binary := filepath.Join(cfg.PluginDirs[0], "instar-compute-good")
	// Not locked: looks go by without a change.
	deadline := time.After(time.Second)
	for waiting := true; waiting; {
		select {
		case err := <-watching:
			t.Fatalf("the old process was replaced by a binary that is not locked: %v", err)
		case <-deadline:
			waiting = false
		}
	}
	if _, err := lockfile.Open(cfg.LockFile).Lock(binary); err != nil {
		t.Fatal(err)
	}
	eventually(t, 60*time.Second, "another process", func() bool { return pid(t, cfg) != old })
	if err := <-watching; sdk.CodeOf(err) != sdk.CodeUnavailable {
		t.Errorf("the stream to the old process ended with %v", err)
	}
	eventually(t, 10*time.Second, "the old process gone", func() bool { return syscall.Kill(old, 0) != nil })
	healthy(t, h)
	create(t, compute(t, h), "web-1")
	lines := configurations(t, cfg.StateDir)
	if want := fmt.Sprintf("%d one", pid(t, cfg)); lines[len(lines)-1] != want {
		t.Errorf("configured %q, want %q at the end", lines, want)
	}
}

func TestDaemonThatDiesInAnUpgrade(t *testing.T) {
	t.Parallel()
	cfg := config(t, install(t, "instar-compute-good"))
	h, err := driverhost.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	open(t, h, good("one"))
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	old := pid(t, cfg)
	record := filepath.Join(cfg.StateDir, "targets", "compute_good_local", "process.json")
	saved, err := os.ReadFile(record)
	if err != nil {
		t.Fatal(err)
	}

	// A daemon that died before it wrote its process down: nobody knows the old one but by its launch.
	if err := os.Remove(record); err != nil {
		t.Fatal(err)
	}
	h, err = driverhost.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	open(t, h, good("two"))
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	fresh := pid(t, cfg)
	if fresh == old || gone(old) == false {
		t.Errorf("process %d was left behind, the new one is %d", old, fresh)
	}

	// One that died with both in the record: the next one is taken, a dead one beside it does not matter.
	current, err := os.ReadFile(record)
	if err != nil {
		t.Fatal(err)
	}
	_, next, ok := strings.Cut(string(saved), `"current"`)
	if !ok {
		t.Fatalf("no current process in %s", saved)
	}
	both := strings.Replace(string(current), "\n}\n", ",\n\"next\""+next, 1)
	if err := os.WriteFile(record, []byte(both), 0o600); err != nil {
		t.Fatal(err)
	}
	h = start(t, cfg)
	open(t, h, good("three"))
	if got := pid(t, cfg); got != fresh {
		t.Errorf("process %d, want the surviving %d", got, fresh)
	}
}

func gone(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || strings.Contains(string(stat), ") Z ")
}

func TestReusedPIDIsNotAttachedTo(t *testing.T) {
	t.Parallel()
	cfg := config(t, install(t, "instar-compute-good"))
	h, err := driverhost.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	open(t, h, good("one"))
	old := pid(t, cfg)
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	// The record names this very test process, which has another start time.
	record := filepath.Join(cfg.StateDir, "targets", "compute_good_local", "process.json")
	data, err := os.ReadFile(record)
	if err != nil {
		t.Fatal(err)
	}
	data = []byte(strings.Replace(string(data), fmt.Sprintf(`"pid": %d`, old), fmt.Sprintf(`"pid": %d`, os.Getpid()), 1))
	if err := os.WriteFile(record, data, 0o600); err != nil {
		t.Fatal(err)
	}
	h = start(t, cfg)
	open(t, h, good("two"))
	if now := pid(t, cfg); now == os.Getpid() || now == old {
		t.Errorf("attached to process %d", now)
	}
}

func TestLongDataDirectory(t *testing.T) {
	t.Parallel()
	cfg := config(t, install(t, "instar-compute-good"))
	cfg.StateDir = filepath.Join(t.TempDir(), strings.Repeat("long/", 30))
	for range 2 { // the second time, the directory for the sockets is remembered
		h, err := driverhost.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		open(t, h, good("one"))
		if err := h.Close(); err != nil {
			t.Fatal(err)
		}
	}
	sockets, err := os.ReadFile(filepath.Join(cfg.StateDir, "sockets"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(strings.TrimSpace(string(sockets))) })
	h := start(t, cfg)
	open(t, h, good("one"))
	if lines := configurations(t, cfg.StateDir); len(lines) != 3 || len(slicesCompactPID(lines)) != 1 {
		t.Errorf("configured %q, want three times one process", lines)
	}
}

func slicesCompactPID(lines []string) map[string]bool {
	pids := map[string]bool{}
	for _, l := range lines {
		pid, _, _ := strings.Cut(l, " ")
		pids[pid] = true
	}
	return pids
}

// What the host says of a driver is what its process says, whatever lies on disk; a binary that is not
// accepted names the command that accepts it.
func TestDriversFollowWhatRuns(t *testing.T) {
	t.Parallel()
	cfg := config(t, install(t, "instar-compute-good", "instar-metrics-good"))
	log := &lockedBuffer{}
	cfg.Logger = hclog.New(&hclog.LoggerOptions{Output: log})
	h := start(t, cfg)
	if _, problems := h.Discover(t.Context()); len(problems) > 0 {
		t.Fatal(problems)
	}
	open(t, h, good("one"))
	digests := func() (all []string) {
		for _, d := range h.Drivers() {
			if d.Node != "n1" || filepath.Dir(d.Path) != cfg.PluginDirs[0] || d.Version == "" {
				t.Errorf("a driver without its origin: %+v", d)
			}
			all = append(all, string(d.Kind)+" "+d.SHA256)
		}
		return all
	}
	before := digests()
	if len(before) != 2 || !strings.HasPrefix(before[0], "compute ") || !strings.HasPrefix(before[1], "metrics ") {
		t.Fatalf("drivers: %v", before)
	}

	installAs(t, cfg.PluginDirs[0], "instar-compute-good", "changed")
	binary := filepath.Join(cfg.PluginDirs[0], "instar-compute-good")
	want := fmt.Sprintf("instard lock -data-dir %s %s", filepath.Dir(cfg.LockFile), binary)
	eventually(t, 60*time.Second, "a line that says what to do", func() bool { return strings.Contains(log.String(), want) })
	if _, problems := h.Discover(t.Context()); len(problems) != 1 {
		t.Errorf("problems with the changed binary: %v", problems)
	}
	if got := digests(); !slices.Equal(got, before) {
		t.Errorf("a binary that may not run is published: %v, want %v", got, before)
	}

	news, stop := h.Subscribe()
	defer stop()
	digest, err := lockfile.Open(cfg.LockFile).Lock(binary)
	if err != nil {
		t.Fatal(err)
	}
	deadline := time.After(60 * time.Second)
	for after := "compute " + strings.TrimPrefix(string(digest), "sha256:"); digests()[0] != after; {
		select {
		case <-news:
		case <-deadline:
			t.Fatalf("after the upgrade the drivers are %v, want %s", digests(), after)
		}
	}
	if got := digests(); got[1] != before[1] {
		t.Errorf("the other driver became %v", got)
	}
}
