package launch

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/instarhq/instar/plugins/compute/process/procfs"
	"github.com/instarhq/instar/plugins/durable"
)

// stageName is the first argument of a process that is a stage.
const stageName = "instar-launch"

// The files that a stage is started with, after the standard ones. Both are closed by exec, so the
// workload inherits neither; the lock has done its work when the marker is there.
const (
	fdDir    = 3 // the instance's directory
	fdReport = 4 // a pipe: a StageError in JSON, or closed by exec
)

// crash is called between the steps; tests end the process there.
var crash = func(string) {}

// The stage runs before main, in any program that the driver is linked into, tests included: a binary
// that was started as a stage and went on into its own main would do something else than its name says.
func init() {
	if len(os.Args) > 0 && os.Args[0] == stageName {
		runtime.LockOSThread() // namespaces and no_new_privs belong to the thread that will exec
		f := stage()
		report(f)
		os.Exit(127)
	}
}

func report(f *StageError) {
	w := os.NewFile(fdReport, "report")
	// Nobody reads it if the driver has died; then the missing marker says it all.
	_ = json.NewEncoder(w).Encode(f)
}

// stage becomes the workload, or returns why not.
func stage() *StageError {
	if err := closeOnExec(); err != nil {
		return fail(StepLimit, "close the driver's files", err)
	}
	// By file handle, not by path: if the instance was destroyed meanwhile this is a directory without a
	// name, in which no marker can be made.
	if err := unix.Fchdir(fdDir); err != nil {
		return fail(stepPlan, "enter the instance's directory", err)
	}
	crash("begin")
	lock, err := takeLock()
	if err != nil {
		return fail(stepLock, "lock the instance", err)
	}
	crash("locked")
	var record struct{ Plan Plan }
	if err := durable.ReadJSON(PlanFile, &record); err != nil {
		return fail(stepPlan, "read the instance's record", err)
	}
	if err := mark(); err != nil {
		return fail(stepMark, "mark the instance as started", err)
	}
	crash("marked")
	f := become(record.Plan)
	// The workload has not run and will not: without the marker it may be tried again. The lock is held
	// until the process ends.
	unmark(f)
	runtime.KeepAlive(lock)
	return f
}

// closeOnExec keeps the workload from inheriting files, also those that the driver itself has inherited
// from whoever started it.
func closeOnExec() error {
	err := unix.CloseRange(fdDir, math.MaxInt32, unix.CLOSE_RANGE_CLOEXEC)
	if err == nil {
		return nil
	}
	// Kernels before 5.11.
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if fd, err := strconv.Atoi(entry.Name()); err == nil && fd >= fdDir {
			unix.CloseOnExec(fd)
		}
	}
	return nil
}

// takeLock makes this the only stage that may go on, if the instance was not started before.
func takeLock() (*os.File, error) {
	lock, err := os.OpenFile(lockFile, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, err
	}
	if _, err := os.Lstat(MarkerFile); !errors.Is(err, os.ErrNotExist) {
		return nil, errors.Join(ErrStarted, err)
	}
	return lock, nil
}

func mark() error {
	self, err := procfs.Self()
	if err != nil {
		return err
	}
	return durable.WriteJSON(MarkerFile, self)
}

// unmark undoes mark. Where the stage has left its directory by then, it goes back.
func unmark(f *StageError) {
	var err error
	if os.Geteuid() != 0 {
		// Where this is refused the driver is no root and the user has not changed.
		_ = syscall.Setresuid(0, 0, 0)
	}
	if err = unix.Fchdir(fdDir); err == nil {
		err = os.Remove(MarkerFile)
	}
	if err == nil {
		err = durable.SyncDir(".")
	}
	if err != nil {
		f.Message += fmt.Sprintf(" (and the marker could not be removed: %v)", err)
	}
}

// Start starts the instance whose record is in dir, and returns when its program runs or why it does not:
// a *StageError, or ErrStarted. The process is a child of the caller, who waits for it.
func Start(dir string) (procfs.Identity, error) {
	read, write, err := os.Pipe()
	if err != nil {
		return procfs.Identity{}, err
	}
	defer func() { _ = read.Close() }()
	pid, err := spawn(dir, write)
	if err := errors.Join(err, write.Close()); err != nil {
		return procfs.Identity{}, err
	}
	data, err := io.ReadAll(read)
	if err != nil {
		return procfs.Identity{}, fmt.Errorf("read from the launcher: %w", err)
	}
	if len(data) > 0 {
		reap(pid)
		return procfs.Identity{}, decode(data)
	}
	id, ok, err := Started(dir)
	if err == nil && ok && id.PID == pid {
		return id, nil
	}
	reap(pid)
	switch {
	case err != nil:
		return procfs.Identity{}, err
	case ok:
		return procfs.Identity{}, ErrStarted // by another stage
	}
	return procfs.Identity{}, &StageError{Step: stepPlan, Message: "the launcher was killed before it started the workload"}
}

func decode(data []byte) error {
	f := &StageError{}
	if err := json.Unmarshal(data, f); err != nil {
		return fmt.Errorf("the launcher said %q: %w", data, err)
	}
	if f.Step == stepLock && (f.Errno == syscall.EWOULDBLOCK || f.Errno == 0) {
		return fmt.Errorf("%w: %s", ErrStarted, f.Message)
	}
	return f
}

func spawn(dir string, report *os.File) (pid int, err error) {
	d, err := os.Open(dir)
	if err != nil {
		return 0, err
	}
	defer func() { _ = d.Close() }()
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return 0, err
	}
	defer func() { _ = null.Close() }()
	// The file that this process was started from, also when another one has its name by now.
	p, err := os.StartProcess("/proc/self/exe", []string{stageName}, &os.ProcAttr{
		Env:   []string{"GOMAXPROCS=1", "GOTRACEBACK=none"},
		Files: []*os.File{null, null, null, d, report},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		return 0, fmt.Errorf("start the launcher: %w", err)
	}
	pid = p.Pid
	return pid, p.Release()
}

// reap waits for a stage that has failed: it is about to exit.
func reap(pid int) {
	for {
		_, err := syscall.Wait4(pid, nil, 0, nil)
		if !errors.Is(err, syscall.EINTR) {
			return
		}
	}
}

// AwaitStage waits until no stage is at work in dir, so that the marker's presence is final. It is for a
// caller who has not started the stage that may be there. When it returns nil the caller has the lock.
func AwaitStage(dir string, deadline time.Time) (release func(), err error) {
	lock, err := os.OpenFile(dir+"/"+lockFile, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	for wait := time.Millisecond; ; wait = min(2*wait, 50*time.Millisecond) {
		err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { _ = lock.Close() }, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) || time.Now().After(deadline) {
			return nil, errors.Join(fmt.Errorf("lock %s/%s: %w", dir, lockFile, err), lock.Close())
		}
		<-time.After(wait)
	}
}
