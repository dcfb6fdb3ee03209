package launch

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/instarhq/instar/sdk/wire"
)

// startTime is when a process began, in clock ticks since boot. A zombie counts as gone.
func startTime(pid int) (uint64, error) {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, fmt.Errorf("process %d: %w", pid, err)
	}
	// The command's name, in parentheses, may hold anything; the fields after it are fixed: the state is
	// field 3 of proc(5) and the start time field 22.
	fields := bytes.Fields(data[bytes.LastIndexByte(data, ')')+1:])
	if len(fields) < 20 {
		return 0, fmt.Errorf("process %d: /proc has %d fields after the name, want 20 or more", pid, len(fields))
	}
	if state := fields[0][0]; state == 'Z' || state == 'X' {
		return 0, fmt.Errorf("process %d: %w", pid, os.ErrNotExist)
	}
	ticks, err := strconv.ParseUint(string(fields[19]), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("process %d: start time: %w", pid, err)
	}
	return ticks, nil
}

// bootID tells one boot of the machine from another.
func bootID() (string, error) {
	data, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("boot id: %w", err)
	}
	return strings.TrimSpace(string(data)), nil
}

// FindLost returns the states, without a socket, of this user's processes that were launched in directories
// below root, in a depth that does not matter, and whose launch directory is gone: with the keys in it,
// nobody can attach to them any more. It must be gone as the process itself sees it, so that one in a
// container, where the same path leads elsewhere, is left alone.
func FindLost(root string) ([]State, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("looking for processes: %w", err)
	}
	boot, err := bootID()
	if err != nil {
		return nil, err
	}
	var found []State
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() || !own(pid) {
			continue
		}
		dir, ok := launchedIn(pid)
		if !ok || !strings.HasPrefix(dir, filepath.Clean(root)+"/") {
			continue
		}
		if _, err := os.Lstat("/proc/" + e.Name() + "/root" + dir); !errors.Is(err, os.ErrNotExist) {
			continue
		}
		if started, err := startTime(pid); err == nil {
			found = append(found, State{PID: pid, Started: started, Boot: boot, Dir: dir})
		}
	}
	return found, nil
}

// own reports whether a process is of the user that we are.
func own(pid int) bool {
	info, err := os.Stat("/proc/" + strconv.Itoa(pid))
	if err != nil {
		return false
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(st.Uid) == os.Geteuid()
}

// launchedIn reads a process's launch directory from its environment.
func launchedIn(pid int) (dir string, ok bool) {
	environ, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/environ")
	if err != nil {
		return "", false
	}
	for entry := range bytes.SplitSeq(environ, []byte{0}) {
		if path, ok := bytes.CutPrefix(entry, []byte(wire.EnvCertificate+"=")); ok && filepath.Base(string(path)) == driverCert {
			return filepath.Dir(string(path)), true
		}
	}
	return "", false
}

// FindByDir returns the states, without a socket, of all processes that were launched in the given launch
// directory: those of a daemon that died before it could write anything down.
func FindByDir(dir string) ([]State, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("looking for processes: %w", err)
	}
	boot, err := bootID()
	if err != nil {
		return nil, err
	}
	marker := []byte(environOf(dir))
	var found []State
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		environ, err := os.ReadFile("/proc/" + e.Name() + "/environ")
		if err != nil {
			continue // gone, or another user's
		}
		if !bytes.Contains(append([]byte{0}, environ...), marker) {
			continue
		}
		if started, err := startTime(pid); err == nil {
			found = append(found, State{PID: pid, Started: started, Boot: boot, Dir: dir})
		}
	}
	return found, nil
}
