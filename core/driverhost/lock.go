package driverhost

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"sync"

	"github.com/instarhq/instar/core"
)

// LockFile holds the SHA-256 of every driver binary that may be launched, by the binary's name. It is a
// JSON file that an operator may also keep under version control. Safe for concurrent use in one process.
type LockFile struct {
	path string
	mu   sync.Mutex
}

type lockContent struct {
	Format  int               `json:"format"`
	Drivers map[string]string `json:"drivers"` // "instar-compute-process" → "sha256:…"
}

// OpenLockFile returns the lock file at path, which need not exist yet.
func OpenLockFile(path string) *LockFile { return &LockFile{path: path} }

// Verify compares a binary with its entry and returns its digest, also with an error.
func (l *LockFile) Verify(binary string) (core.Digest, error) {
	found, err := digestFile(binary)
	if err != nil {
		return "", err
	}
	return found, l.check(binary, found)
}

func (l *LockFile) check(binary string, found core.Digest) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	content, err := l.read()
	if err != nil {
		return err
	}
	name := filepath.Base(binary)
	switch expected, ok := content.Drivers[name]; {
	case !ok:
		return core.Errorf(core.CodeDenied, "%s (%s) is not in the lock file %s", binary, found, l.path).
			WithHint("if you trust it: %s", l.command(binary))
	case expected != string(found):
		return core.Errorf(core.CodeDenied, "%s has changed: %s expects %s, found %s", binary, l.path, expected, found).
			WithHint("if you meant to replace it: %s; otherwise restore the file", l.command(binary))
	}
	return nil
}

// command is what accepts a binary as it is now: the lock file is in the daemon's data directory.
func (l *LockFile) command(binary string) string {
	return fmt.Sprintf("instard lock -data-dir %s %s", filepath.Dir(l.path), binary)
}

// Lock accepts a binary as it is now, and returns its digest.
func (l *LockFile) Lock(binary string) (core.Digest, error) {
	found, err := digestFile(binary)
	if err != nil {
		return "", err
	}
	return found, l.edit(func(drivers map[string]string) { drivers[filepath.Base(binary)] = string(found) })
}

// lockNew locks a binary only if it has no entry yet.
func (l *LockFile) lockNew(binary string, digest core.Digest) error {
	return l.edit(func(drivers map[string]string) {
		if _, ok := drivers[filepath.Base(binary)]; !ok {
			drivers[filepath.Base(binary)] = string(digest)
		}
	})
}

// Unlock removes the entry of a binary, by its file name; it is no error if there is none.
func (l *LockFile) Unlock(name string) error {
	return l.edit(func(drivers map[string]string) { delete(drivers, name) })
}

// Entries returns all entries, binary name to digest.
func (l *LockFile) Entries() (map[string]string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	content, err := l.read()
	return content.Drivers, err
}

func (l *LockFile) edit(change func(map[string]string)) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	content, err := l.read()
	if err != nil {
		return err
	}
	before := maps.Clone(content.Drivers)
	change(content.Drivers)
	if maps.Equal(before, content.Drivers) {
		return nil
	}
	if err := writeJSON(l.path, content); err != nil {
		return fmt.Errorf("lock file: %w", err)
	}
	return nil
}

// read returns the content; that of a file that does not exist is empty. A damaged one is an error, never
// an empty one: that would accept anything with AutoLock.
func (l *LockFile) read() (lockContent, error) {
	content := lockContent{Format: core.Format}
	err := readJSON(l.path, &content)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return content, core.Errorf(core.CodeCorrupt, "lock file: %w", err).WithHint("restore %s, or lock the drivers afresh", l.path)
	}
	if content.Format != core.Format {
		return content, core.Errorf(core.CodeUnsupported, "lock file %s is in format %d, this instar reads format %d",
			l.path, content.Format, core.Format)
	}
	if content.Drivers == nil {
		content.Drivers = map[string]string{}
	}
	return content, nil
}
