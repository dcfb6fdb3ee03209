package core

import (
	"errors"
	"fmt"
	"time"
)

// Code classifies an error for programs. The API carries it unchanged, the CLI derives its exit code
// from it. Codes are stable: they may be added, never renamed.
type Code string

// The codes. Retryable ones say so.
const (
	CodeInvalid     Code = "invalid"     // the request is wrong; repeating it cannot help
	CodeNotFound    Code = "not_found"   // no such object
	CodeConflict    Code = "conflict"    // the object is not in the state that the request needs
	CodeTooLarge    Code = "too_large"   // over a size limit
	CodeDenied      Code = "denied"      // the principal may not do this
	CodeLimited     Code = "limited"     // too many refused requests from one source; not before RetryAfter
	CodeUnsupported Code = "unsupported" // the driver or this version cannot do this
	CodeUnavailable Code = "unavailable" // retryable: a part is not there right now
	CodeNotLeader   Code = "not_leader"  // retryable: ask the leader
	CodeTimeout     Code = "timeout"     // the outcome is unknown; retry with the same request id
	CodeCorrupt     Code = "corrupt"     // stored data does not verify; nothing was changed
	CodeInternal    Code = "internal"    // a bug in instar
)

// Error is the one error type that crosses package borders of instar with a meaning for programs.
// Wrap it freely with %w: CodeOf and AsError find it again.
type Error struct {
	Code       Code          // never empty
	Message    string        // what is wrong, and where; no trailing full stop
	Object     string        // "kind/id" of the object it is about, or empty
	Hint       string        // what to do about it, or empty
	RetryAfter time.Duration // 0: no advice; only with retryable codes
	Err        error         // the cause, or nil
}

// Error gives the message and its cause; the hint is for the person at the end of the line.
func (e *Error) Error() string {
	if e.Err == nil {
		return e.Message
	}
	if _, shown := e.Err.(silent); shown { //nolint:errorlint // only Errorf's own wrapping, not one further down
		return e.Message
	}
	return e.Message + ": " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// WithHint returns a copy of e that tells what to do.
func (e *Error) WithHint(format string, args ...any) *Error {
	c := *e
	c.Hint = fmt.Sprintf(format, args...)
	return &c
}

// WithObject returns a copy of e that names the object it is about.
func (e *Error) WithObject(kind Kind, id string) *Error {
	c := *e
	c.Object = string(kind) + "/" + id
	return &c
}

// Errorf makes an Error. A %w verb in format becomes the cause, as with fmt.Errorf; the text of the
// cause is then already part of the message.
func Errorf(code Code, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Code: code, Message: err.Error(), Err: hidden(errors.Unwrap(err))}
}

// AsError finds the first Error in err's chain.
func AsError(err error) (*Error, bool) {
	var e *Error
	ok := errors.As(err, &e)
	return e, ok
}

// CodeOf returns the code of the first Error in err's chain, CodeInternal for any other error and the
// empty code for nil.
func CodeOf(err error) Code {
	if err == nil {
		return ""
	}
	if e, ok := AsError(err); ok {
		return e.Code
	}
	return CodeInternal
}

// IsNotFound reports whether err says that an object does not exist.
func IsNotFound(err error) bool { return CodeOf(err) == CodeNotFound }

// IsConflict reports whether err says that an object changed meanwhile or is in the wrong state.
func IsConflict(err error) bool { return CodeOf(err) == CodeConflict }

// Retryable reports whether the same request may succeed later, and is safe to repeat.
func Retryable(err error) bool {
	switch CodeOf(err) {
	case CodeUnavailable, CodeNotLeader, CodeTimeout:
		return true
	}
	return false
}

// silent keeps a cause reachable for errors.Is and errors.As without printing it a second time.
type silent struct{ error }

func (silent) Error() string   { return "" }
func (s silent) Unwrap() error { return s.error }

func hidden(err error) error {
	if err == nil {
		return nil
	}
	return silent{err}
}
