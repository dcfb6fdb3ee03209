package sdktest

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// FootprintOf counts the open files and the children of a process, for Harness.Footprint. It needs /proc.
func FootprintOf(pid int) (int, error) {
	dir := filepath.Join("/proc", strconv.Itoa(pid))
	files, err := os.ReadDir(filepath.Join(dir, "fd"))
	if err != nil {
		return 0, fmt.Errorf("open files of the driver: %w", err)
	}
	count := len(files)
	tasks, err := os.ReadDir(filepath.Join(dir, "task"))
	if err != nil {
		return 0, fmt.Errorf("threads of the driver: %w", err)
	}
	for _, task := range tasks {
		children, err := os.ReadFile(filepath.Join(dir, "task", task.Name(), "children")) //nolint:gosec // of /proc
		if errors.Is(err, fs.ErrNotExist) {
			continue // the thread has ended, or the kernel does not tell
		}
		if err != nil {
			return 0, fmt.Errorf("children of the driver: %w", err)
		}
		count += len(strings.Fields(string(children)))
	}
	return count, nil
}
