//go:build !linux

package launch

import (
	"errors"
	"os"
	"syscall"
)

// startTime cannot be had portably: here a process is known by its pid alone.
func startTime(pid int) (uint64, error) {
	handle, err := os.FindProcess(pid)
	if err != nil {
		return 0, err
	}
	if err := handle.Signal(syscall.Signal(0)); err != nil && !errors.Is(err, os.ErrPermission) {
		return 0, err
	}
	return 0, nil
}

func bootID() (string, error) { return "unknown", nil }

// FindByDir finds nothing where there is no /proc.
func FindByDir(string) ([]State, error) { return nil, nil }

// FindLost finds nothing where there is no /proc.
func FindLost(string) ([]State, error) { return nil, nil }
