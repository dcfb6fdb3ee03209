package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/instarhq/instar/cmd/instar/table"
	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/api/client"
)

// The exit codes, the same for every command.
const (
	exitDone        = 0
	exitFailed      = 1
	exitUsage       = 2 // also: plan has changes
	exitTimeout     = 3 // waiting ended before the work
	exitDenied      = 4
	exitUnreachable = 5
)

// exitError ends the program with a code; an empty message prints nothing.
type exitError struct {
	code    int
	message string
	hint    string
}

func (e *exitError) Error() string { return e.message }

func usage(format string, args ...any) *exitError {
	return &exitError{code: exitUsage, message: fmt.Sprintf(format, args...)}
}

func (e *exitError) withHint(format string, args ...any) *exitError {
	e.hint = fmt.Sprintf(format, args...)
	return e
}

// report prints an error for a person and returns the exit code.
func report(w io.Writer, err error, style table.Style) int {
	if err == nil {
		return exitDone
	}
	code, message, hint := exitFailed, err.Error(), ""
	var exit *exitError
	if errors.As(err, &exit) {
		code, message, hint = exit.code, exit.message, exit.hint
	} else if e, ok := core.AsError(err); ok {
		code, hint = exitCode(err, e.Code), e.Hint
	} else if errors.Is(err, context.Canceled) {
		message = "interrupted"
	}
	if message != "" {
		say(w, "%s %s\n", style.Bad("error:"), message)
	}
	if hint != "" {
		say(w, "%s %s\n", style.Faint(" hint:"), hint)
	}
	return code
}

func exitCode(err error, code core.Code) int {
	switch {
	case errors.Is(err, client.ErrUnreachable):
		return exitUnreachable
	case code == core.CodeDenied, code == core.CodeLimited:
		return exitDenied
	}
	return exitFailed
}

// say prints for a person. A terminal that cannot be written to leaves nobody to tell.
func say(w io.Writer, format string, args ...any) { _, _ = fmt.Fprintf(w, format, args...) }
