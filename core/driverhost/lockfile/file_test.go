package lockfile_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/driverhost/lockfile"
)

// The test binary is also a program that locks a binary, for the tests with several processes.
func TestMain(m *testing.M) {
	if lock := os.Getenv("LOCKFILE_TEST_LOCK"); lock != "" {
		for _, binary := range os.Args[1:] {
			if _, err := lockfile.Open(lock).Lock(binary); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func put(t *testing.T, path, content string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func content(t *testing.T, f *lockfile.File) lockfile.Content {
	t.Helper()
	c, err := f.Read()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// No change is lost, whoever makes it.
func TestChangesOfSeveralProcesses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	lock := filepath.Join(dir, lockfile.Name)
	const processes, each = 4, 8
	var group sync.WaitGroup
	for p := range processes {
		var binaries []string
		for n := range each {
			binaries = append(binaries, put(t, filepath.Join(dir, fmt.Sprintf("instar-compute-p%d-%d", p, n)), "x"))
		}
		group.Go(func() {
			cmd := exec.CommandContext(t.Context(), os.Args[0], binaries...)
			cmd.Env = append(os.Environ(), "LOCKFILE_TEST_LOCK="+lock)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
	own := lockfile.Open(lock)
	for n := range each {
		binary := put(t, filepath.Join(dir, fmt.Sprintf("instar-compute-own-%d", n)), "x")
		group.Go(func() {
			if _, err := own.Lock(binary); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if entries, err := own.Entries(); err != nil || len(entries) != (processes+1)*each {
		t.Errorf("%d entries, %v; want %d", len(entries), err, (processes+1)*each)
	}
}

func TestInstallReplacesAndRemoves(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	f := lockfile.Open(filepath.Join(dir, lockfile.Name))
	binary := filepath.Join(dir, "instar-compute-x")
	for _, version := range []string{"one", "two"} {
		i := lockfile.Installation{
			Path: binary, Kind: core.DriverCompute, Name: "x", Version: version, Protocol: 1,
			Digest: core.DigestBytes([]byte(version)), Origin: "/somewhere/" + version,
		}
		if err := f.Install(put(t, filepath.Join(dir, ".new"), version), i, func(lockfile.Content) error { return nil }); err != nil {
			t.Fatal(err)
		}
		if _, err := f.Verify(binary); err != nil {
			t.Errorf("%s: %v", version, err)
		}
		if c := content(t, f); c.Installed["instar-compute-x"] != i || len(c.Pending) != 0 {
			t.Errorf("content is %+v", c)
		}
	}
	if err := f.Check(binary, core.DigestBytes([]byte("one"))); core.CodeOf(err) != core.CodeDenied {
		t.Errorf("the binary that was replaced is still accepted: %v", err)
	}
	if _, err := f.Remove("instar-compute-x"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(binary); !os.IsNotExist(err) {
		t.Errorf("the binary is still there: %v", err)
	}
	if c := content(t, f); len(c.Drivers)+len(c.Installed) != 0 {
		t.Errorf("content is %+v", c)
	}
	if _, err := f.Remove("instar-compute-x"); core.CodeOf(err) != core.CodeNotFound {
		t.Errorf("removing it again: %v", err)
	}
}

// A crash between any two steps of an installation leaves a binary in the place that may be launched.
func TestAnInterruptedInstallationLeavesWhatMayRun(t *testing.T) {
	t.Parallel()
	old, fresh := core.DigestBytes([]byte("old")), core.DigestBytes([]byte("new"))
	for _, there := range []string{"old", "new"} { // before and after the move
		dir := t.TempDir()
		f := lockfile.Open(filepath.Join(dir, lockfile.Name))
		binary := put(t, filepath.Join(dir, "instar-compute-x"), there)
		err := f.Edit(func(c *lockfile.Content) error {
			c.Drivers["instar-compute-x"], c.Pending["instar-compute-x"] = string(old), string(fresh)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Verify(binary); err != nil {
			t.Errorf("with the %s binary in the place: %v", there, err)
		}
		put(t, binary, "other")
		if _, err := f.Verify(binary); core.CodeOf(err) != core.CodeDenied {
			t.Errorf("a third binary: %v", err)
		}
	}
}

func TestARefusedInstallationChangesNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	f := lockfile.Open(filepath.Join(dir, lockfile.Name))
	i := lockfile.Installation{Path: filepath.Join(dir, "instar-compute-x"), Digest: core.DigestBytes([]byte("x"))}
	temporary := put(t, filepath.Join(dir, ".new"), "x")
	refusal := core.Errorf(core.CodeConflict, "no")
	if err := f.Install(temporary, i, func(lockfile.Content) error { return refusal }); core.CodeOf(err) != core.CodeConflict {
		t.Errorf("error is %v", err)
	}
	if _, err := os.Stat(i.Path); !os.IsNotExist(err) {
		t.Errorf("the binary is there: %v", err)
	}
	if c := content(t, f); len(c.Drivers)+len(c.Pending)+len(c.Installed) != 0 {
		t.Errorf("content is %+v", c)
	}
}

// A lock file of before there were installations reads as one without.
func TestOlderContent(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), lockfile.Name)
	put(t, path, `{"format": 1, "drivers": {"instar-compute-x": "sha256:1"}}`)
	c := content(t, lockfile.Open(path))
	if c.Drivers["instar-compute-x"] != "sha256:1" || c.Installed == nil || c.Pending == nil {
		t.Errorf("content is %+v", c)
	}
	for _, damaged := range []string{"", "{", `{"format": 7}`, `{"format": 1, "drivers": []}`} {
		put(t, path, damaged)
		if _, err := lockfile.Open(path).Lock(path); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("with %q: %v", damaged, err)
		}
		if data, err := os.ReadFile(path); err != nil || string(data) != damaged {
			t.Errorf("with %q the file became %q, %v", damaged, data, err)
		}
	}
}

func TestWhatIsWritten(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, lockfile.Name)
	if _, err := lockfile.Open(path).Lock(put(t, filepath.Join(dir, "instar-compute-x"), "x")); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(data, &got); err != nil || len(got) != 2 {
		t.Errorf("%s: %v; want format and drivers only", data, err)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 3 {
		t.Errorf("%v, %v; want the binary, the lock file and its guard", left, err)
	}
}
