package launch

import (
	"errors"
	"os"
	"syscall"
	"time"
)

// lookEvery is how often a process is looked at although the kernel would tell of its end.
const lookEvery = 30 * time.Second

// awaitEnd waits until the process has ended, or left is closed, without looking at it all the time: its
// pidfd becomes readable when it ends. It returns false at once where the kernel has none.
func (s State) awaitEnd(left <-chan struct{}) bool {
	handle, err := pidfd(s.PID)
	if err != nil {
		return false
	}
	defer func() { _ = handle.Close() }()
	conn, err := handle.SyscallConn()
	if err != nil {
		return false
	}
	done := make(chan struct{})
	defer close(done)
	go func() {
		select {
		case <-left:
			_ = handle.SetReadDeadline(time.Unix(1, 0)) // ends the wait below
		case <-done:
		}
	}()
	for {
		if err := handle.SetReadDeadline(time.Now().Add(lookEvery)); err != nil {
			return false
		}
		select {
		case <-left:
			return true
		default:
		}
		// Each look at the process is after the wait was armed, so its end is seen by one of the two.
		switch err := conn.Read(func(uintptr) bool { return !s.Alive() }); {
		case err == nil:
			return true
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return false
		}
	}
}

// pidfd opens the process as a file that the runtime's poller can wait for.
func pidfd(pid int) (*os.File, error) {
	process, err := os.FindProcess(pid)
	if err != nil {
		return nil, err
	}
	defer func() { _ = process.Release() }()
	fd := -1
	var dupErr error
	err = process.WithHandle(func(handle uintptr) {
		syscall.ForkLock.RLock()
		defer syscall.ForkLock.RUnlock()
		if fd, dupErr = syscall.Dup(int(handle)); dupErr == nil {
			syscall.CloseOnExec(fd)
			dupErr = syscall.SetNonblock(fd, true)
		}
	})
	if err = errors.Join(err, dupErr); err != nil {
		if fd >= 0 {
			_ = syscall.Close(fd)
		}
		return nil, err
	}
	return os.NewFile(uintptr(fd), "pidfd"), nil
}
