package serve

import (
	"os"
	"syscall"
)

// replaceStderr makes file descriptor 2 refer to file. Dup3, because some architectures have no Dup2.
func replaceStderr(file *os.File) error {
	return syscall.Dup3(int(file.Fd()), 2, 0)
}
