package daemon_test

import (
	"errors"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A store that cannot write any more ends the daemon with a reason; what runs goes on, and with room on
// the disk again the next daemon takes over.
func TestStoreThatCannotWriteEndsTheDaemon(t *testing.T) {
	d := newDir(t)
	process := d.spawn()
	address := d.deploy()
	pids := d.processes()
	if err := unix.Prlimit(process.Process.Pid, unix.RLIMIT_FSIZE, &unix.Rlimit{}, nil); err != nil { // as a full disk
		t.Fatal(err)
	}
	// Whatever it answers: nothing of it may be acknowledged.
	scale := exec.CommandContext(t.Context(), "instar", "service", "scale", "hello", "5")
	if out, err := d.command(scale).CombinedOutput(); err == nil {
		t.Errorf("a write was acknowledged that could not be kept: %s", out)
	}
	err := process.Wait()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 {
		t.Errorf("instard ended with %v, want exit code 1", err)
	}
	if body := get(t, "http://"+address); !strings.HasPrefix(body, "hello from hello-") {
		t.Errorf("with the daemon dead the route answers %q", body)
	}
	d.spawn()
	if after := d.processes(); !slices.Equal(after, pids) {
		t.Errorf("processes %v before, %v after", pids, after)
	}
	if got := strings.Count(d.snapshot(), `"phase": "running"`); got != 2 {
		t.Errorf("%d instances run, want the 2 of before", got)
	}
}
