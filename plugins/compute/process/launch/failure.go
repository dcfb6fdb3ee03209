package launch

import (
	"errors"
	"fmt"
	"syscall"
)

// The steps at which a stage can fail.
const (
	stepLock  = "lock"  // another stage has the lock, or the marker is there: the instance was started
	stepPlan  = "plan"  // the record cannot be read
	stepMark  = "mark"  // the marker cannot be written
	StepView  = "view"  // the mount namespace cannot be made
	StepGroup = "group" // the control group cannot be entered
	StepUser  = "user"  // the user cannot be changed to
	StepDir   = "dir"   // the working directory cannot be entered
	StepLogs  = "logs"  // the output files cannot be opened
	StepLimit = "limit" // a limit cannot be set
	StepExec  = "exec"  // the program cannot be executed
)

// ErrStarted says that the instance was started before, or is just being started by somebody else.
var ErrStarted = errors.New("the instance was started before")

// StageError says why a workload did not come to run. It has never run when Start returns a StageError.
type StageError struct {
	Step    string        `json:"step"`
	Message string        `json:"message"`
	Errno   syscall.Errno `json:"errno"` // 0: none
}

// Error implements error.
func (f *StageError) Error() string { return f.Message }

// Unwrap returns the system's error number, for errors.Is.
func (f *StageError) Unwrap() error {
	if f.Errno == 0 {
		return nil
	}
	return f.Errno
}

func fail(step, what string, err error) *StageError {
	f := &StageError{Step: step, Message: fmt.Sprintf("%s: %v", what, err)}
	var errno syscall.Errno
	if errors.As(err, &errno) {
		f.Errno = errno
	}
	return f
}
