package launch

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/instarhq/instar/plugins/compute/process/procfs"
)

// prepare makes an instance's directory whose workload leaves a line each time that it runs.
func prepare(t *testing.T, change func(*Plan)) string {
	t.Helper()
	dir := t.TempDir()
	p := Plan{
		Path: "/bin/sh", Args: []string{"sh", "-c", "echo $$ >>ran; exec sleep 3600"}, Env: []string{"PATH=/usr/bin:/bin"}, Dir: dir,
		Stdout: filepath.Join(dir, "stdout"), Stderr: filepath.Join(dir, "stderr"),
	}
	if change != nil {
		change(&p)
	}
	data, err := json.Marshal(map[string]any{"plan": p, "other": 1})
	if err != nil {
		t.Fatal(err)
	}
	put(t, dir, PlanFile, string(data))
	t.Cleanup(func() {
		if id, ok, _ := Started(dir); ok {
			end(t, id)
		}
	})
	return dir
}

func put(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// end kills a child and waits for it.
func end(t *testing.T, id procfs.Identity) procfs.Status {
	t.Helper()
	h, err := id.Open()
	if errors.Is(err, os.ErrNotExist) {
		return procfs.Status{}
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = h.Close() }()
	if err := errors.Join(h.Signal(syscall.SIGKILL), h.Wait()); err != nil {
		t.Fatal(err)
	}
	return h.Collect()
}

func ran(t *testing.T, dir string) int {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, "ran"))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return strings.Count(string(data), "\n")
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(20 * time.Second); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("not within 20s: %s", what)
		}
	}
}

func TestStart(t *testing.T) {
	dir := prepare(t, nil)
	id, err := Start(dir)
	if err != nil {
		t.Fatal(err)
	}
	if same, err := id.Same(); err != nil || !same {
		t.Errorf("the process is not there: %v", err)
	}
	if found, ok, err := Started(dir); err != nil || !ok || found != id {
		t.Errorf("the marker is %+v, %v, %v; want %+v", found, ok, err, id)
	}
	eventually(t, "it ran", func() bool { return ran(t, dir) == 1 })
	if _, err := Start(dir); !errors.Is(err, ErrStarted) {
		t.Errorf("a second Start: %v", err)
	}
	if status := end(t, id); !status.Known || status.Signal != syscall.SIGKILL {
		t.Errorf("it ended with %+v", status)
	}
	if _, err := Start(dir); !errors.Is(err, ErrStarted) {
		t.Errorf("a Start after its end: %v", err)
	}
	if n := ran(t, dir); n != 1 {
		t.Errorf("it ran %d times", n)
	}
}

// I4: the stage is killed at every step. Before the marker it may be tried again; from the marker on,
// never, even though nothing has run.
func TestI4StageIsKilledAtEveryStep(t *testing.T) {
	for _, step := range []string{"begin", "locked"} {
		dir := prepare(t, nil)
		put(t, dir, "crash-at", step)
		var failure *StageError
		if _, err := Start(dir); !errors.As(err, &failure) {
			t.Errorf("killed at %q: %v, want a StageError", step, err)
		}
		put(t, dir, "crash-at", "")
		if _, err := Start(dir); err != nil {
			t.Errorf("killed at %q and started again: %v", step, err)
		}
		eventually(t, "it ran", func() bool { return ran(t, dir) == 1 })
	}
	for _, step := range []string{"marked", "grouped", "confined"} {
		dir := prepare(t, nil)
		put(t, dir, "crash-at", step)
		id, err := Start(dir)
		if err != nil {
			t.Fatalf("killed at %q: %v", step, err)
		}
		if status := end(t, id); status.Signal != syscall.SIGKILL {
			t.Errorf("killed at %q: it ended with %+v", step, status)
		}
		put(t, dir, "crash-at", "")
		if _, err := Start(dir); !errors.Is(err, ErrStarted) {
			t.Errorf("killed at %q and started again: %v", step, err)
		}
		if n := ran(t, dir); n != 0 {
			t.Errorf("killed at %q: it ran %d times", step, n)
		}
	}
}

// I4: many stages at once start one workload.
func TestI4ConcurrentStages(t *testing.T) {
	dir := prepare(t, nil)
	var started atomic.Int64
	var group sync.WaitGroup
	for range 20 {
		group.Go(func() {
			_, err := Start(dir)
			if err == nil {
				started.Add(1)
			} else if !errors.Is(err, ErrStarted) {
				t.Errorf("Start: %v", err)
			}
		})
	}
	group.Wait()
	eventually(t, "it ran", func() bool { return ran(t, dir) > 0 })
	if started.Load() != 1 || ran(t, dir) != 1 {
		t.Errorf("%d stages say that they started it; it ran %d times", started.Load(), ran(t, dir))
	}
}

// A stage that outlives its driver finds that the instance was destroyed, and starts nothing.
func TestDestroyedUnderTheStage(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "ran")
	dir := prepare(t, func(p *Plan) { p.Args[2], p.Dir = "touch "+outside, "/" })
	put(t, dir, "wait-at", "begin")
	failed := make(chan error, 1)
	go func() {
		_, err := Start(dir)
		failed <- err
	}()
	eventually(t, "the stage waits", func() bool {
		_, err := os.Stat(filepath.Join(dir, "waiting"))
		return err == nil
	})
	moved := dir + "-gone"
	if err := errors.Join(os.Rename(dir, moved), os.RemoveAll(moved)); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-failed:
		if !errors.Is(err, os.ErrNotExist) {
			t.Errorf("Start: %v, want that the directory is gone", err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the stage did not end")
	}
	if _, err := os.Stat(outside); !os.IsNotExist(err) {
		t.Error("it ran")
	}
}

// AwaitStage waits for a stage that is at work.
func TestAwaitStage(t *testing.T) {
	dir := prepare(t, nil)
	put(t, dir, "wait-at", "locked")
	done := make(chan error, 1)
	go func() {
		_, err := Start(dir)
		done <- err
	}()
	eventually(t, "the stage has the lock", func() bool {
		release, err := AwaitStage(dir, time.Now())
		if err == nil {
			release()
		}
		return err != nil
	})
	put(t, dir, "wait-at", "")
	release, err := AwaitStage(dir, time.Now().Add(20*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	if _, ok, err := Started(dir); !ok || err != nil {
		t.Errorf("the stage has let go and there is no marker: %v", err)
	}
	release()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// A stage that cannot go on says at which step and why, leaves no marker, and can be repeated.
func TestFailures(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Plan)
		step   string
		errno  syscall.Errno
	}{
		"no program":   {func(p *Plan) { p.Path = "/no/such/program" }, StepExec, syscall.ENOENT},
		"no directory": {func(p *Plan) { p.Dir = "/no/such/directory" }, StepDir, syscall.ENOENT},
		"no log":       {func(p *Plan) { p.Stdout = "/no/such/directory/log" }, StepLogs, syscall.ENOENT},
		"no group":     {func(p *Plan) { p.Group = "/no/such/group/cgroup.procs" }, StepGroup, syscall.ENOENT},
		"too long":     {func(p *Plan) { p.Args = append(p.Args, strings.Repeat("x", 200<<10)) }, StepExec, syscall.E2BIG},
		"no program for another user": {func(p *Plan) {
			if os.Geteuid() == 0 {
				id := 2030043136
				p.UID, p.GID = &id, &id
			}
			p.Dir, p.Path = "/", "/no/such/program"
		}, StepExec, syscall.ENOENT},
	} {
		dir := prepare(t, c.change)
		for range 2 {
			_, err := Start(dir)
			var failure *StageError
			if !errors.As(err, &failure) || failure.Step != c.step || !errors.Is(err, c.errno) {
				t.Errorf("%s: %v, want step %s with %v", name, err, c.step, c.errno)
			}
			if _, ok, err := Started(dir); ok || err != nil {
				t.Errorf("%s: a marker is left, %v", name, err)
			}
		}
	}
}

// A program whose file is just being written by somebody is waited for.
func TestBusyProgram(t *testing.T) {
	program, err := os.ReadFile("/bin/sleep")
	if err != nil {
		t.Fatal(err)
	}
	dir := prepare(t, func(p *Plan) { p.Args = []string{"sleep", "3600"} })
	path := filepath.Join(dir, "program")
	put(t, dir, "program", string(program))
	data, err := os.ReadFile(filepath.Join(dir, PlanFile))
	if err != nil {
		t.Fatal(err)
	}
	put(t, dir, PlanFile, strings.ReplaceAll(string(data), "/bin/sh", path))
	busy, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := busy.Chmod(0o755); err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(100*time.Millisecond, func() { _ = busy.Close() })
	defer timer.Stop()
	if _, err := Start(dir); err != nil {
		t.Error(err)
	}
}

func TestHideFor(t *testing.T) {
	top := t.TempDir() // below a directory that only its owner can enter
	if err := os.MkdirAll(filepath.Join(top, "a", "b", "c"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"", "a", "a/b", "a/b/c"} {
		if err := os.Chmod(filepath.Join(top, dir), 0o711); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(filepath.Dir(top), 0o711); err != nil {
		t.Fatal(err)
	}
	state := filepath.Join(top, "a", "b", "c")
	stranger := os.Geteuid() + 4711
	for closed, want := range map[string]string{"": "a/b/c", "a": "a", "a/b": "a/b", "a/b/c": "a/b/c"} {
		if closed != "" {
			if err := os.Chmod(filepath.Join(top, closed), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := HideFor(state, stranger, stranger); err != nil || got != filepath.Join(top, want) {
			t.Errorf("with %q closed, %s is hidden, %v; want %s", closed, got, err, filepath.Join(top, want))
		}
		if got, err := HideFor(state, os.Geteuid(), os.Getegid()); err != nil || got != state {
			t.Errorf("for the owner %s is hidden, %v", got, err)
		}
		if closed != "" {
			if err := os.Chmod(filepath.Join(top, closed), 0o711); err != nil {
				t.Fatal(err)
			}
		}
	}
}
