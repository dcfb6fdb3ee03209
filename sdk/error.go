package sdk

import (
	"errors"
	"fmt"
	"time"
)

// Code classifies a driver's error; it survives the wire.
type Code string

// The codes.
const (
	CodeNotFound      Code = "not_found"
	CodeConflict      Code = "conflict"       // the backend is in another state than the call needs
	CodeUnavailable   Code = "unavailable"    // retryable: the backend is not there right now
	CodeInvalidConfig Code = "invalid_config" // repeating it with the same configuration cannot help
	CodeUnsupported   Code = "unsupported"
	CodeInternal      Code = "internal"
)

// Error is a driver's typed error.
type Error struct {
	Code       Code
	Message    string        // what and where, for a person; begins lower case, no full stop
	Attribute  string        // InvalidConfig: the attribute's path, "command" or "artifact.source"
	RetryAfter time.Duration // Unavailable: when to try again; 0: the caller's choice
	Err        error         // the cause, on the driver's side of the wire only
}

// Error gives the message, with the attribute in front.
func (e *Error) Error() string {
	if e.Attribute != "" {
		return e.Attribute + ": " + e.Message
	}
	return e.Message
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// NotFound says that something does not exist.
func NotFound(format string, args ...any) error { return wrap(CodeNotFound, format, args) }

// Conflict says that the backend is in another state than the call needs.
func Conflict(format string, args ...any) error { return wrap(CodeConflict, format, args) }

// Unsupported says that this driver cannot do it.
func Unsupported(format string, args ...any) error { return wrap(CodeUnsupported, format, args) }

// Unavailable says that the backend cannot be reached, and when to try again (0: the caller's choice).
func Unavailable(retryAfter time.Duration, format string, args ...any) error {
	e := wrap(CodeUnavailable, format, args)
	e.RetryAfter = retryAfter
	return e
}

// InvalidConfig says that the configuration is wrong at the attribute with the given path.
func InvalidConfig(attribute, format string, args ...any) error {
	e := wrap(CodeInvalidConfig, format, args)
	e.Attribute = attribute
	return e
}

// CodeOf returns the code of the first Error in err's chain, CodeInternal for any other error and the
// empty code for nil.
func CodeOf(err error) Code {
	if err == nil {
		return ""
	}
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return CodeInternal
}

func wrap(code Code, format string, args []any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Code: code, Message: err.Error(), Err: errors.Unwrap(err)}
}
