package launch

import (
	"os/exec"
	"testing"
	"time"
)

// sleeper is a process that does nothing, as a State.
func sleeper(t *testing.T) (State, *exec.Cmd) {
	t.Helper()
	cmd := exec.Command("sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // gone already in some tests
		_ = cmd.Wait()
	})
	boot, err := bootID()
	if err != nil {
		t.Fatal(err)
	}
	started, err := startTime(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	return State{PID: cmd.Process.Pid, Boot: boot, Started: started}, cmd
}

// awaited runs awaitEnd and gives its answer.
func awaited(s State, left chan struct{}) <-chan bool {
	out := make(chan bool, 1)
	go func() { out <- s.awaitEnd(left) }()
	return out
}

func TestAwaitEndTellsAtOnce(t *testing.T) {
	s, cmd := sleeper(t)
	end := awaited(s, make(chan struct{}))
	select {
	case known := <-end:
		if known {
			t.Fatal("the process was said to have ended while it ran")
		}
		t.Log("this kernel has no pidfd; ends are found by looking")
		return
	case <-time.After(100 * time.Millisecond):
	}
	if err := cmd.Process.Kill(); err != nil { // it stays a zombie: nobody waits for it yet
		t.Fatal(err)
	}
	select {
	case known := <-end:
		if !known || s.Alive() {
			t.Errorf("awaitEnd says %t, alive %t", known, s.Alive())
		}
	case <-time.After(lookEvery / 2):
		t.Fatal("the end was not noticed")
	}
}

func TestAwaitEndOfWhatHasEnded(t *testing.T) {
	s, _ := sleeper(t)
	s.Started++ // its pid belongs to another process now
	if !<-awaited(s, make(chan struct{})) {
		t.Log("this kernel has no pidfd; ends are found by looking")
	}
}

func TestAwaitEndStopsWhenNobodyCares(t *testing.T) {
	s, _ := sleeper(t)
	left := make(chan struct{})
	end := awaited(s, left)
	close(left)
	select {
	case <-end:
	case <-time.After(lookEvery / 2):
		t.Fatal("still waiting")
	}
}
