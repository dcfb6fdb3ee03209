//go:build unix && !linux

package serve

import (
	"os"
	"syscall"
)

// duplicate makes the file descriptor fd refer to file.
func duplicate(file *os.File, fd int) error {
	return syscall.Dup2(int(file.Fd()), fd)
}
