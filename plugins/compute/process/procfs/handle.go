package procfs

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Handle is a process held by a pidfd: signals through it never reach another process.
type Handle struct {
	id   Identity
	file *os.File
}

// Status is how a process ended.
type Status struct {
	Known  bool // false: only that it has ended
	Code   int  // exit status, -1 if a signal ended it
	Signal syscall.Signal
}

// Close releases the handle; the process is not touched. A Wait under way returns an error.
func (h *Handle) Close() error { return h.file.Close() }

// Signal sends a signal. A process that has ended already is no error.
func (h *Handle) Signal(sig syscall.Signal) error {
	raw, err := h.file.SyscallConn()
	if err != nil {
		return err
	}
	var sendErr error
	if err := raw.Control(func(fd uintptr) { sendErr = unix.PidfdSendSignal(int(fd), sig, nil, 0) }); err != nil {
		return err
	}
	if sendErr != nil && !errors.Is(sendErr, unix.ESRCH) {
		return fmt.Errorf("send %s to process %d: %w", unix.SignalName(sig), h.id.PID, sendErr)
	}
	return nil
}

// Wait returns when the process has ended. It parks the goroutine in the runtime's poller: a thousand
// waits cost no thread.
func (h *Handle) Wait() error {
	raw, err := h.file.SyscallConn()
	if err != nil {
		return err
	}
	var pollErr error
	err = raw.Read(func(fd uintptr) bool {
		var ended bool
		ended, pollErr = readable(int(fd))
		return ended || pollErr != nil
	})
	return errors.Join(err, pollErr)
}

func readable(fd int) (bool, error) {
	for {
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(fds, 0)
		if !errors.Is(err, unix.EINTR) {
			return n > 0, err
		}
	}
}

// Collect returns how the process ended, after Wait. A child of the caller is waited for, so that no
// zombie stays. Of a process that another one is the parent of, kernels from 6.15 on tell the status
// once that parent has waited for it; Collect gives them a moment.
func (h *Handle) Collect() Status {
	var ws syscall.WaitStatus
	for {
		pid, err := syscall.Wait4(h.id.PID, &ws, syscall.WNOHANG, nil)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if err == nil && pid == h.id.PID {
			return statusOf(ws)
		}
		break
	}
	for wait := time.Millisecond; wait < 200*time.Millisecond; wait *= 2 {
		if code, ok := h.exitInfo(); ok {
			return statusOf(syscall.WaitStatus(code))
		}
		<-time.After(wait)
	}
	return Status{Code: -1}
}

func (h *Handle) exitInfo() (code uint32, ok bool) {
	raw, err := h.file.SyscallConn()
	if err != nil {
		return 0, false
	}
	info := unix.PidfdInfo{Mask: unix.PIDFD_INFO_EXIT}
	var infoErr error
	err = raw.Control(func(fd uintptr) { infoErr = unix.IoctlPidfdInfo(int(fd), &info) })
	if err != nil || infoErr != nil || info.Mask&unix.PIDFD_INFO_EXIT == 0 {
		return 0, false
	}
	return uint32(info.Exit_code), true
}

func statusOf(ws syscall.WaitStatus) Status {
	if ws.Signaled() {
		return Status{Known: true, Code: -1, Signal: ws.Signal()}
	}
	return Status{Known: true, Code: ws.ExitStatus()}
}
