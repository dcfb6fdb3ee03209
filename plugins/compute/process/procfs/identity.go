package procfs

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Identity names one process for ever: the number alone is used again sooner or later.
type Identity struct {
	PID   int    `json:"pid"`
	Start uint64 `json:"start"` // clock ticks after boot
	Boot  string `json:"boot"`
}

// Self is the calling process.
func Self() (Identity, error) { return Identify(os.Getpid()) }

// Identify returns the identity of the process that has the number pid now.
func Identify(pid int) (Identity, error) {
	s, err := ReadStat(pid)
	if err != nil {
		return Identity{}, err
	}
	boot, err := BootID()
	return Identity{PID: pid, Start: s.Start, Boot: boot}, err
}

// Same reports whether the number still belongs to this process, alive or not waited for yet.
func (id Identity) Same() (bool, error) {
	now, err := Identify(id.PID)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	return err == nil && now == id, err
}

// Open returns a handle of the process, which keeps meaning it. A process that is gone is an error for
// which errors.Is(err, os.ErrNotExist) holds.
func (id Identity) Open() (*Handle, error) {
	fd, err := unix.PidfdOpen(id.PID, unix.PIDFD_NONBLOCK)
	if errors.Is(err, unix.ESRCH) {
		return nil, fmt.Errorf("process %d: %w", id.PID, os.ErrNotExist)
	}
	if err != nil {
		return nil, fmt.Errorf("open process %d: %w", id.PID, err)
	}
	h := &Handle{id: id, file: os.NewFile(uintptr(fd), "pidfd")}
	// Asked after the open: from here on the number and the handle mean the same process.
	same, err := id.Same()
	if err == nil && !same {
		err = fmt.Errorf("process %d is another one now: %w", id.PID, os.ErrNotExist)
	}
	if err != nil {
		_ = h.Close() // nothing was written to it
		return nil, err
	}
	return h, nil
}

// isGone reports whether an error from /proc means that the process has ended meanwhile.
func isGone(err error) bool {
	return errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH)
}
