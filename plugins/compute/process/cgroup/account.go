package cgroup

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// CPU returns the CPU time that the group has used since it was made. The kernel counts it with or
// without the cpu controller.
func (g Group) CPU() (time.Duration, error) {
	usec, err := g.counter("cpu.stat", "usage_usec")
	return time.Duration(usec) * time.Microsecond, err
}

// Memory returns the bytes in use that the kernel could not simply drop: without file contents that have
// not been used for a while. It fails without the memory controller.
func (g Group) Memory() (int64, error) {
	data, err := os.ReadFile(filepath.Join(g.dir, "memory.current"))
	if err != nil {
		return 0, err
	}
	current, err := strconv.ParseInt(strings.TrimSpace(string(data)), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("memory.current of %s: %w", g.dir, err)
	}
	idle, err := g.counter("memory.stat", "inactive_file")
	if err != nil {
		return 0, err
	}
	return max(current-idle, 0), nil
}

// OOMKills returns how many processes of the group the kernel killed because memory was short.
func (g Group) OOMKills() (int64, error) { return g.counter("memory.events", "oom_kill") }

// counter reads one line of a file of "name value" lines.
func (g Group) counter(file, name string) (int64, error) {
	path := filepath.Join(g.dir, file)
	data, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(data)) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			return strconv.ParseInt(strings.TrimSpace(value), 10, 64)
		}
	}
	return 0, fmt.Errorf("%s has no %s", path, name)
}
