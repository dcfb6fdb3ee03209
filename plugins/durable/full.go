package durable

import (
	"context"
	"errors"
	"syscall"
	"time"

	"github.com/instarhq/instar/sdk"
)

// retryFull is when to try again on a full disk: people or garbage collection have to act first.
const retryFull = 15 * time.Second

// Explain gives an error of writing below path the code that a caller can act on: a disk without room is
// sdk.Unavailable and names the path, as it may have room later. Errors that have a code, and those of an
// ended context, stay as they are.
func Explain(err error, path string) error {
	var typed *sdk.Error
	if err == nil || errors.As(err, &typed) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	switch {
	case errors.Is(err, syscall.ENOSPC):
		return sdk.Unavailable(retryFull, "the file system of %s is full (space or inodes): %w", path, err)
	case errors.Is(err, syscall.EDQUOT):
		return sdk.Unavailable(retryFull, "the disk quota of %s is used up: %w", path, err)
	case errors.Is(err, syscall.EROFS):
		return sdk.Unavailable(retryFull, "the file system of %s is read-only: %w", path, err)
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE), errors.Is(err, syscall.EAGAIN), errors.Is(err, syscall.ENOMEM):
		return sdk.Unavailable(time.Second, "the machine is short of resources: %w", err)
	}
	return err
}
