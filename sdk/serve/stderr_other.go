//go:build unix && !linux

package serve

import (
	"os"
	"syscall"
)

// replaceStderr makes file descriptor 2 refer to file.
func replaceStderr(file *os.File) error {
	return syscall.Dup2(int(file.Fd()), 2)
}
