package serve

import (
	"os"
	"syscall"
)

// duplicate makes the file descriptor fd refer to file. Dup3, because some architectures have no Dup2.
func duplicate(file *os.File, fd int) error {
	return syscall.Dup3(int(file.Fd()), fd, 0)
}
