package process_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/instarhq/instar/sdk"
)

// soon is within what an exit has to be recognised.
const soon = time.Second

func TestExits(t *testing.T) {
	n := newNode(t)
	for _, c := range []struct {
		script  string
		code    int
		signal  string
		message string
	}{
		{"exit 0", 0, "", "exited with status 0 after "},
		{"exit 3", 3, "", "exited with status 3 after "},
		{"kill -SEGV $$", -1, "SIGSEGV", "ended by SIGSEGV after "},
	} {
		spec := n.spec("/bin/sh", "-c", c.script)
		n.create(spec)
		exit := n.exited(spec.ID)
		if exit.Code != c.code || exit.Signal != c.signal || !strings.HasPrefix(exit.Message, c.message) || exit.OOM {
			t.Errorf("%q: exit is %+v", c.script, exit)
		}
		n.reopen()
		if again := *n.inspect(spec.ID).Exit; again != exit {
			t.Errorf("%q: after a restart of the driver the exit is %+v, it was %+v", c.script, again, exit)
		}
	}
}

// An instance survives the driver's death, and its end is recognised within a second by a driver that is
// not its parent.
func TestAdoption(t *testing.T) {
	n := newNode(t)
	n.close()
	fifo := filepath.Join(n.shared, "go")
	if err := syscall.Mkfifo(fifo, 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(fifo, 0o666); err != nil {
		t.Fatal(err)
	}
	spec := n.spec("/bin/sh", "-c", "echo before; read line <"+fifo+"; echo after; exit 5")
	other := startOther(t, driverJob{Configure: n.req, Create: []sdk.InstanceSpec{spec}})
	other.done(t)
	other.kill()
	n.open()
	if i := n.inspect(spec.ID); i.State != sdk.StateRunning {
		t.Fatalf("after the driver's death the instance is %s: %+v", i.State, i.Exit)
	}
	seen := make(chan sdk.Instance, 1)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		_ = n.driver.Watch(ctx, func(i sdk.Instance) error { // ends with ctx
			if i.State == sdk.StateExited {
				seen <- i
			}
			return nil
		})
	}()
	released := time.Now()
	if err := os.WriteFile(fifo, []byte("go\n"), 0); err != nil {
		t.Fatal(err)
	}
	select {
	case i := <-seen:
		if i.ID != spec.ID || i.Exit == nil {
			t.Fatalf("Watch reported %+v", i)
		}
		if late := time.Since(released); late > soon {
			t.Errorf("the exit was reported after %s", late)
		}
		// Kernels that tell the status to others than the parent do so once the parent has waited.
		if i.Exit.Code != 5 && !strings.Contains(i.Exit.Message, "not known") {
			t.Errorf("exit is %+v, want status 5, or that it is not known", *i.Exit)
		}
	case <-time.After(patience):
		t.Fatal("Watch did not report the exit")
	}
	if lines := n.logs(spec.ID); len(lines) != 2 || lines[0] != "before" || lines[1] != "after" {
		t.Errorf("logs are %q", lines)
	}
}

// An instance that ends while no driver is there is found as exited, and is not started again.
func TestEndWhileAway(t *testing.T) {
	n := newNode(t)
	spec := n.spec("/bin/sh", "-c", "echo $$ >>"+n.shared+"/pid; exec sleep 3600")
	n.create(spec)
	n.eventually("the instance has written its number", func() bool { return len(n.pids("pid")) == 1 })
	pid := n.pids("pid")[0]
	n.close()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	n.eventually("the process is gone", func() bool { return !alive(pid) })
	n.open()
	if exit := n.exited(spec.ID); exit.At.IsZero() || exit.Message == "" {
		t.Errorf("exit is %+v", exit)
	}
	if again := n.create(spec); again.State != sdk.StateExited {
		t.Errorf("Create gives state %s", again.State)
	}
	if pids := n.pids("pid"); len(pids) != 1 {
		t.Errorf("the instance was started %d times", len(pids))
	}
}

// family is a script whose instance has a child, a child in a session of its own that ignores signals,
// and a grandchild that belongs to init.
func family(n *node) string {
	return `cd ` + n.shared + `
		(trap '' TERM HUP; while :; do sleep 0.05; done) & echo $! >>pids
		setsid sh -c 'trap "" TERM HUP; echo $$ >>pids; while :; do sleep 0.05; done' &
		(sh -c 'echo $$ >>pids; exec sleep 3600' &)
		echo $$ >>pids
		while [ "$(wc -l <pids)" != 4 ]; do sleep 0.01; done
		touch complete; `
}

func (n *node) createFamily(rest string) (sdk.InstanceSpec, []int) {
	n.Helper()
	spec := n.spec("/bin/sh", "-c", family(n)+rest)
	n.create(spec)
	n.eventually("the family is complete", func() bool {
		_, err := os.Stat(filepath.Join(n.shared, "complete"))
		return err == nil
	})
	return spec, n.pids("pids")
}

func (n *node) wantGone(pids []int) {
	n.Helper()
	for _, pid := range pids {
		if alive(pid) {
			n.Errorf("process %d is still there", pid)
		}
	}
}

// Destroy ends everything that an instance has started, however it hides.
func TestDestroyEndsTheFamily(t *testing.T) {
	n := newNode(t)
	spec, pids := n.createFamily("wait")
	began := time.Now()
	n.destroy(spec.ID, 300*time.Millisecond)
	if took := time.Since(began); took < 300*time.Millisecond {
		t.Errorf("Destroy took %s; processes that ignore the signal had less than the grace", took)
	}
	n.wantGone(pids)
	if _, err := os.Stat(filepath.Join(n.req.StateDir, "instances", spec.ID)); !os.IsNotExist(err) {
		t.Errorf("the instance's directory is still there: %v", err)
	}
}

// When the main process ends, the instance has exited and what it left behind is killed.
func TestExitEndsTheFamily(t *testing.T) {
	n := newNode(t)
	spec, pids := n.createFamily("exit 0")
	n.exited(spec.ID)
	n.eventually("what was left behind is gone", func() bool {
		for _, pid := range pids {
			if alive(pid) {
				return false
			}
		}
		return true
	})
}

// A well-behaved instance gets the time that it needs, and no more is waited.
func TestGrace(t *testing.T) {
	n := newNode(t)
	for _, c := range []struct {
		name, script string
		signal       string
		grace        time.Duration
		atLeast      time.Duration
	}{
		{"obeys at once", "trap 'exit 0' TERM", "SIGTERM", time.Minute, 0},
		{"needs a moment", "trap 'sleep 0.3; echo bye >" + n.shared + "/bye; exit 0' TERM", "SIGTERM", time.Minute, 300 * time.Millisecond},
		{"ignores it", "trap '' TERM", "SIGTERM", 400 * time.Millisecond, 400 * time.Millisecond},
		{"wants another signal", "trap '' TERM; trap 'exit 0' QUIT", "quit", time.Minute, 0},
		{"gets none", "trap '' TERM", "SIGTERM", 0, 0},
	} {
		spec := n.spec()
		ready := filepath.Join(n.shared, strings.ReplaceAll(c.name, " ", "-"))
		spec.Config = config(t, map[string]any{"stop_signal": c.signal, "command": []string{
			"/bin/sh", "-c", c.script + "; touch " + ready + "; while :; do sleep 0.02; done",
		}})
		n.create(spec)
		n.eventually("the instance is ready", func() bool {
			_, err := os.Stat(ready)
			return err == nil
		})
		began := time.Now()
		n.destroy(spec.ID, c.grace)
		if took := time.Since(began); took < c.atLeast || took > c.atLeast+10*time.Second {
			t.Errorf("%s: Destroy took %s", c.name, took)
		}
	}
	if _, err := os.Stat(filepath.Join(n.shared, "bye")); err != nil {
		t.Errorf("the instance could not finish its work: %v", err)
	}
}

// A Destroy that is interrupted can be repeated, and concurrent ones agree.
func TestDestroyIsInterrupted(t *testing.T) {
	n := newNode(t)
	spec, pids := n.createFamily("wait")
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := n.driver.Destroy(ctx, spec.ID, time.Hour); err == nil {
		t.Error("Destroy returned no error although its context ended first")
	}
	_, err := n.driver.Create(t.Context(), spec)
	wantCode(t, err, sdk.CodeConflict, "was destroyed")
	n.reopen()
	if _, err := n.driver.Inspect(t.Context(), spec.ID); err != nil {
		t.Errorf("a half destroyed instance is not found any more: %v", err)
	}
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() { n.destroy(spec.ID, 0) })
	}
	group.Wait()
	n.wantGone(pids)
}

func TestUsage(t *testing.T) {
	n := newNode(t)
	busy := n.spec("/bin/sh", "-c", "while :; do :; done")
	idle := n.spec("/bin/sleep", "3600")
	n.create(busy)
	n.create(idle)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var last map[string]sdk.Usage
	err := n.driver.Usage(ctx, 100*time.Millisecond, func(samples []sdk.Usage) error {
		last = map[string]sdk.Usage{}
		for _, s := range samples {
			last[s.ID] = s
		}
		if last[busy.ID].CPUNanos > uint64(200*time.Millisecond) {
			cancel()
		}
		return nil
	})
	if last[busy.ID].CPUNanos <= uint64(200*time.Millisecond) {
		t.Fatalf("the busy instance used %+v: %v", last[busy.ID], err)
	}
	if idle := last[idle.ID]; idle.CPUNanos > uint64(150*time.Millisecond) || idle.Memory < 64<<10 || idle.Memory > 64<<20 {
		t.Errorf("the idle instance used %+v", idle)
	}
}
