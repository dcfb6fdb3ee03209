package procfs

import (
	"errors"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"testing"
	"time"
)

func TestParseStat(t *testing.T) {
	line := "1234 (a (strange) name) S 1 1234 1200 0 -1 4194560 100 0 0 0 7 3 2 1 20 0 1 0 98765 1000000 250 18446744073709551615 0 0"
	got, err := parseStat([]byte(line))
	want := Stat{
		PID: 1234, State: 'S', PPID: 1, Group: 1234, Session: 1200, CPU: 130 * time.Millisecond, Start: 98765, RSS: 250 * int64(os.Getpagesize()),
	}
	if err != nil || got != want {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
	for _, bad := range []string{"", "1 (x", "x (y) S", "1 (x) S 1 2", "1 (x) S a b c d e f g h i j k l m n o p q r s t u v"} {
		if got, err := parseStat([]byte(bad)); err == nil {
			t.Errorf("%q is read as %+v", bad, got)
		}
	}
}

func start(t *testing.T, script string) (*exec.Cmd, *Handle) {
	t.Helper()
	cmd := exec.Command("/bin/sh", "-c", script)
	cmd.Env = []string{"MARK=42", "PATH=/usr/bin:/bin"}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	id, err := Identify(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	h, err := id.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close() })
	return cmd, h
}

func TestHandle(t *testing.T) {
	for script, want := range map[string]Status{
		"exit 7":        {Known: true, Code: 7},
		"kill -TERM $$": {Known: true, Code: -1, Signal: syscall.SIGTERM},
	} {
		_, h := start(t, script)
		if err := h.Wait(); err != nil {
			t.Fatal(err)
		}
		if got := h.Collect(); got != want {
			t.Errorf("%q ended with %+v, want %+v", script, got, want)
		}
		if err := h.Signal(syscall.SIGKILL); err != nil {
			t.Errorf("signal after the end: %v", err)
		}
		if same, err := h.id.Same(); same || err != nil {
			t.Errorf("after the end the process is still there: %v, %v", same, err)
		}
		if _, err := h.id.Open(); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("open after the end: %v", err)
		}
	}
}

// A number that belongs to another process by now is not mistaken for the one that had it.
func TestAnotherProcess(t *testing.T) {
	self, err := Self()
	if err != nil {
		t.Fatal(err)
	}
	for _, other := range []Identity{
		{PID: self.PID, Start: self.Start - 1, Boot: self.Boot}, {PID: self.PID, Start: self.Start, Boot: "another boot"},
	} {
		if _, err := other.Open(); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%+v is opened as %+v: %v", other, self, err)
		}
	}
}

// Closing a handle ends a wait, and leaves the process alone.
func TestCloseEndsWait(t *testing.T) {
	cmd, h := start(t, "exec sleep 3600")
	ended := make(chan error, 1)
	go func() { ended <- h.Wait() }()
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err == nil {
		t.Error("the wait ended without an error")
	}
	if err := syscall.Kill(cmd.Process.Pid, 0); err != nil {
		t.Errorf("the process: %v", err)
	}
	if err := errors.Join(cmd.Process.Kill()); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed
}

func TestAll(t *testing.T) {
	cmd, h := start(t, "exec sleep 3600")
	var found []int
	if err := All(func(s Stat) { found = append(found, s.PID) }); err != nil {
		t.Fatal(err)
	}
	if pid := cmd.Process.Pid; !slices.Contains(found, pid) || !slices.Contains(found, os.Getpid()) {
		t.Errorf("%d is not in %v", pid, found)
	}
	deadline := time.Now().Add(10 * time.Second)
	for !HasEnv(cmd.Process.Pid, "MARK=42") && time.Now().Before(deadline) {
		<-time.After(time.Millisecond) // until it has become sh
	}
	if !HasEnv(cmd.Process.Pid, "MARK=42") || HasEnv(cmd.Process.Pid, "MARK=4") || HasEnv(-1, "MARK=42") {
		t.Error("the environment is not recognised")
	}
	if uid, err := UID(cmd.Process.Pid); err != nil || uid != os.Geteuid() {
		t.Errorf("the user is %d, %v", uid, err)
	}
	if err := errors.Join(h.Signal(syscall.SIGKILL), h.Wait()); err != nil {
		t.Fatal(err)
	}
	h.Collect()
}
