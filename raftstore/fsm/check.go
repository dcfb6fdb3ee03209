package fsm

import (
	"errors"
	"fmt"
	"os"
	"runtime/debug"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/instarhq/instar/core"
)

// advice is the hint of every error about a damaged file.
const advice = "keep a copy of the file, then restore it from a snapshot or, in a cluster, start this node with an empty data directory"

// guard runs work and makes of whatever goes wrong, in it or in bbolt, an error about the file at path.
// bbolt trusts its pages: a damaged one makes it panic, and one behind the end of a cut file is a fault.
func guard(path string, work func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = damaged("%s is damaged: %v", path, p).WithHint(advice)
		}
	}()
	return explain(path, work())
}

func explain(path string, err error) error {
	var known *core.Error
	switch {
	case err == nil:
		return nil
	case errors.Is(err, bolterrors.ErrTimeout):
		return core.Errorf(core.CodeUnavailable, "%s is in use by another process", path)
	case errors.Is(err, bolterrors.ErrInvalid), errors.Is(err, bolterrors.ErrChecksum), errors.Is(err, bolterrors.ErrVersionMismatch),
		errors.Is(err, bolterrors.ErrInvalidMapping), errors.Is(err, bolterrors.ErrDatabaseNotOpen):
		return damaged("%s is damaged: %w", path, err).WithHint(advice)
	case errors.As(err, &known) && known.Code == core.CodeCorrupt:
		return damaged("%s is damaged: %w", path, err).WithHint(advice)
	case errors.As(err, &known):
		return core.Errorf(known.Code, "%s: %w", path, err).WithHint("%s", known.Hint)
	}
	return fmt.Errorf("%s: %w", path, err)
}

// checkFile verifies the file at path without changing it: all of it, if it is not larger than full.
func checkFile(path string, full int64) error {
	return guard(path, func() error {
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		if info.Size() < int64(2*os.Getpagesize()) {
			return damaged("it has only %d bytes", info.Size())
		}
		if err := checkPages(path); err != nil {
			return err
		}
		db, err := bolt.Open(path, 0o600, &bolt.Options{ReadOnly: true, Timeout: lockPatience, NoStatistics: true})
		if err != nil {
			return err
		}
		// Not deferred: after a panic, Close would wait for the transaction that panicked.
		err = db.View(func(tx *bolt.Tx) error { return checkContent(tx, info.Size() <= full) })
		return errors.Join(err, db.Close())
	})
}

func checkContent(tx *bolt.Tx, full bool) error {
	for _, name := range buckets {
		if tx.Bucket(name) == nil {
			return damaged("bucket %s is missing", name)
		}
	}
	if full {
		return verifyAll(tx, func() error { return nil })
	}
	return verifyQuickly(tx)
}
