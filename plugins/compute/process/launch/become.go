package launch

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// maxFiles is how many files a workload may have open, if the machine allows that many.
	maxFiles = 65536
	// busyFor is how long an exec is tried again while the program's file is open for writing: a fork
	// elsewhere in the driver can hold a file that was just unpacked for an instant.
	busyFor = 2 * time.Second
)

// become confines the process and executes the workload. It returns only if that fails.
func become(p Plan) *StageError {
	if f := openOutput(p); f != nil {
		return f
	}
	if p.Group != "" {
		if err := os.WriteFile(p.Group, []byte("0"), 0); err != nil {
			return fail(StepGroup, "enter control group "+p.Group, err)
		}
	}
	crash("grouped")
	if p.View != nil {
		if err := p.View.enter(); err != nil {
			return fail(StepView, "make the instance's view of the file system", err)
		}
	}
	if f := limit(); f != nil {
		return f
	}
	if f := changeUser(p); f != nil {
		return f
	}
	if err := os.Chdir(p.Dir); err != nil {
		return fail(StepDir, "enter the working directory", err)
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fail(StepLimit, "set no_new_privs", err)
	}
	crash("confined")
	return execute(p)
}

// openOutput puts the log files in the place of standard output and error. They are opened for appending
// only, so that the driver can release their beginning while the workload writes.
func openOutput(p Plan) *StageError {
	for fd, path := range map[int]string{1: p.Stdout, 2: p.Stderr} {
		file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
		if err != nil {
			return fail(StepLogs, "open the log file", err)
		}
		if p.GID != nil {
			// Programs open /dev/stdout, which is this file, once more.
			err = errors.Join(file.Chown(os.Getuid(), *p.GID), file.Chmod(0o620))
		}
		if err == nil {
			err = unix.Dup3(int(file.Fd()), fd, 0)
		}
		if err := errors.Join(err, file.Close()); err != nil {
			return fail(StepLogs, "set up the log file", err)
		}
	}
	return nil
}

// limit sets what every workload gets: no core dumps, which would hold secrets; enough open files; the
// normal chance to be killed when memory is short, whatever the daemon has set for itself; nobody's
// ignored signals.
func limit() *StageError {
	if err := syscall.Setrlimit(syscall.RLIMIT_CORE, &syscall.Rlimit{}); err != nil {
		return fail(StepLimit, "forbid core dumps", err)
	}
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil {
		return fail(StepLimit, "read the limit of open files", err)
	}
	files.Cur = min(maxFiles, files.Max)
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &files); err != nil {
		return fail(StepLimit, "set the limit of open files", err)
	}
	// Lowering it below what the driver was given needs privileges; then it stays as it is.
	if err := os.WriteFile("/proc/self/oom_score_adj", []byte("0"), 0); err != nil && !errors.Is(err, os.ErrPermission) {
		return fail(StepLimit, "set oom_score_adj", err)
	}
	unix.Umask(0o022)
	// A handler becomes the default action at exec; an ignored signal would stay ignored.
	signal.Notify(make(chan os.Signal, 1), unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM, unix.SIGPIPE)
	return nil
}

// changeUser gives up the driver's privileges. The saved user stays root until exec, which overwrites it
// by the effective one and takes all capabilities away: so a stage that cannot execute the program can
// still remove its marker.
func changeUser(p Plan) *StageError {
	if p.UID == nil || p.GID == nil {
		return nil
	}
	// Ambient capabilities are what exec would pass on.
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
		return fail(StepUser, "clear the ambient capabilities", err)
	}
	if err := syscall.Setgroups([]int{*p.GID}); err != nil && !groupsAreFixed() {
		return fail(StepUser, "give up the driver's groups", err)
	}
	if err := syscall.Setresgid(*p.GID, *p.GID, *p.GID); err != nil {
		return fail(StepUser, fmt.Sprintf("change to group %d", *p.GID), err)
	}
	if err := syscall.Setresuid(*p.UID, *p.UID, 0); err != nil {
		return fail(StepUser, fmt.Sprintf("change to user %d", *p.UID), err)
	}
	return nil
}

// groupsAreFixed reports whether the process is in a user namespace that an unprivileged user made: there
// groups cannot be changed, and mean nothing more than outside.
func groupsAreFixed() bool {
	data, err := os.ReadFile("/proc/self/setgroups")
	return err == nil && strings.TrimSpace(string(data)) == "deny"
}

func execute(p Plan) *StageError {
	for deadline := time.Now().Add(busyFor); ; <-time.After(5 * time.Millisecond) {
		err := syscall.Exec(p.Path, p.Args, p.Env)
		if !errors.Is(err, syscall.ETXTBSY) || time.Now().After(deadline) {
			return fail(StepExec, "execute "+p.Path, err)
		}
	}
}
