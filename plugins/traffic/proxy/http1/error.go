package http1

import "fmt"

// Error is a message that cannot be accepted, with the status that tells the client so.
type Error struct {
	Status int
	Reason string // safe to show: never quotes the message
}

// Error gives the reason.
func (e *Error) Error() string { return fmt.Sprintf("%s (%d)", e.Reason, e.Status) }

func bad(reason string) error { return &Error{Status: 400, Reason: reason} }

// ErrTooLarge is a head that is longer than the buffer for it.
var ErrTooLarge error = &Error{Status: 431, Reason: "request header fields too large"}
