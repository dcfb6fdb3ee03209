package cgroup

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// period is the interval over which a cpu limit is measured, in microseconds; the kernel's default.
const period = 100_000

// Group is the control group of one instance. The zero Group stands for none.
type Group struct{ dir string }

// Limits bounds a group; 0: no bound.
type Limits struct {
	CPU    int64 // thousandths of a core
	Memory int64 // bytes
}

// Exists reports whether the group is there.
func (g Group) Exists() bool {
	if g.dir == "" {
		return false
	}
	_, err := os.Stat(g.dir)
	return err == nil
}

// ProcsFile is the file to which a process writes 0 to enter the group.
func (g Group) ProcsFile() string { return filepath.Join(g.dir, "cgroup.procs") }

// Create makes the group, or finds it, and sets its limits. Limits for which the machine has no
// controller are left out; Root.String says so. The zero Group stays none.
func (g Group) Create(limits Limits) error {
	if g.dir == "" {
		return nil
	}
	if err := os.Mkdir(g.dir, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	for file, value := range limits.files() {
		err := set(filepath.Join(g.dir, file), value)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("set %s: %w", filepath.Join(g.dir, file), err)
		}
	}
	return nil
}

// set writes a control file. It must not ask to create it: the kernel answers that with "permission denied"
// where the file does not exist, which hides that a controller is missing.
func set(path, value string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(value)
	return errors.Join(err, f.Close())
}

func (l Limits) files() map[string]string {
	files := map[string]string{}
	if l.CPU > 0 {
		// The kernel refuses quotas under a millisecond.
		files["cpu.max"] = fmt.Sprintf("%d %d", max(l.CPU*period/1000, 1000), period)
	}
	if l.Memory > 0 {
		files["memory.max"] = strconv.FormatInt(l.Memory, 10)
		// Without this the limit would only say how soon the instance begins to swap.
		files["memory.swap.max"] = "0"
		// An instance of which one process was killed is neither alive nor dead.
		files["memory.oom.group"] = "1"
	}
	return files
}

// Settings returns the limits as the kernel has them now, as text; empty without controllers.
func (g Group) Settings() string {
	var b strings.Builder
	for _, file := range []string{"cpu.max", "memory.max", "memory.swap.max"} {
		data, err := os.ReadFile(filepath.Join(g.dir, file))
		if err == nil {
			fmt.Fprintf(&b, "%s=%s\n", file, strings.TrimSpace(string(data)))
		}
	}
	return b.String()
}

// Processes returns the numbers of the processes in the group.
func (g Group) Processes() ([]int, error) {
	data, err := os.ReadFile(g.ProcsFile())
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ENODEV) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var pids []int
	for field := range strings.FieldsSeq(string(data)) {
		pid, err := strconv.Atoi(field)
		if err != nil {
			return nil, fmt.Errorf("%s holds %q", g.ProcsFile(), field)
		}
		pids = append(pids, pid)
	}
	return pids, nil
}

// Contains reports whether a process is in the group now.
func (g Group) Contains(pid int) bool {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cgroup")
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(data)) {
		if path, ok := strings.CutPrefix(strings.TrimSpace(line), "0::"); ok {
			return path != "/" && strings.HasSuffix(g.dir, path)
		}
	}
	return false
}

// Kill sends SIGKILL to every process of the group, also to those that fork meanwhile. Kernels before
// 5.14 cannot, and say os.ErrNotExist.
func (g Group) Kill() error {
	return set(filepath.Join(g.dir, "cgroup.kill"), "1")
}

// Remove removes the group, waiting until the processes in it have gone.
func (g Group) Remove(ctx context.Context) error {
	if g.dir == "" {
		return nil
	}
	for wait := time.Millisecond; ; wait = min(2*wait, 100*time.Millisecond) {
		err := os.Remove(g.dir)
		if err == nil || errors.Is(err, os.ErrNotExist) {
			return nil
		}
		if !errors.Is(err, syscall.EBUSY) {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("remove control group %s: %w", g.dir, context.Cause(ctx))
		case <-time.After(wait):
		}
	}
}
