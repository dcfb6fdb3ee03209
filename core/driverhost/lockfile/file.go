package lockfile

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/instarhq/instar/core"
)

// Where a node keeps its drivers, in its data directory.
const (
	Name      = "drivers.json" // the lock file
	PluginDir = "plugins"      // where instar driver install puts binaries, unless it is told otherwise
)

// File is a lock file. Safe for concurrent use, by any number of processes.
type File struct {
	path string
	mu   sync.Mutex // flock is between open files, not between goroutines
}

// Content is what the file holds.
type Content struct {
	Format  int               `json:"format"`
	Drivers map[string]string `json:"drivers"` // "instar-compute-process" → "sha256:…"
	// Pending are digests that are accepted as well, while a binary is being replaced: whatever crashes, the old
	// and the new one may be launched.
	Pending   map[string]string       `json:"pending,omitempty"`
	Installed map[string]Installation `json:"installed,omitempty"`
}

// Installation says where a binary came from and what it said of itself.
type Installation struct {
	Path     string          `json:"path"` // absolute
	Kind     core.DriverKind `json:"kind"`
	Name     string          `json:"name"`
	Version  string          `json:"version"`
	Protocol int             `json:"protocol"`
	Digest   core.Digest     `json:"digest"`
	Size     int64           `json:"size"`
	Origin   string          `json:"origin"` // path or URL
	At       time.Time       `json:"at"`
}

// Open returns the lock file at path, which need not exist yet.
func Open(path string) *File { return &File{path: path} }

// Path is where the file is.
func (f *File) Path() string { return f.path }

// Verify compares a binary with its entry and returns its digest, also with an error.
func (f *File) Verify(binary string) (core.Digest, error) {
	found, err := Digest(binary)
	if err != nil {
		return "", err
	}
	return found, f.Check(binary, found)
}

// Check refuses a binary with another digest than the file has.
func (f *File) Check(binary string, found core.Digest) error {
	content, err := f.Read()
	if err != nil {
		return err
	}
	name := filepath.Base(binary)
	switch expected, ok := content.Drivers[name]; {
	case expected == string(found), content.Pending[name] == string(found):
		return nil
	case !ok:
		return core.Errorf(core.CodeDenied, "%s (%s) is not in the lock file %s", binary, found, f.path).
			WithHint("if you trust it: %s", f.command(binary))
	default:
		return core.Errorf(core.CodeDenied, "%s has changed: %s expects %s, found %s", binary, f.path, expected, found).
			WithHint("if you meant to replace it: %s; otherwise restore the file", f.command(binary))
	}
}

// command is what accepts a binary as it is now: the lock file is in the daemon's data directory.
func (f *File) command(binary string) string {
	return fmt.Sprintf("instard lock -data-dir %s %s", filepath.Dir(f.path), binary)
}

// Lock accepts a binary as it is now, and returns its digest.
func (f *File) Lock(binary string) (core.Digest, error) {
	found, err := Digest(binary)
	if err != nil {
		return "", err
	}
	return found, f.Edit(func(c *Content) error {
		c.Drivers[filepath.Base(binary)] = string(found)
		return nil
	})
}

// LockNew locks a binary only if it has no entry yet.
func (f *File) LockNew(binary string, digest core.Digest) error {
	if content, err := f.Read(); err != nil || content.Drivers[filepath.Base(binary)] != "" {
		return err // nothing to change: no need to keep others waiting
	}
	return f.Edit(func(c *Content) error {
		if _, ok := c.Drivers[filepath.Base(binary)]; !ok {
			c.Drivers[filepath.Base(binary)] = string(digest)
		}
		return nil
	})
}

// Unlock removes the entry of a binary, by its file name; it is no error if there is none.
func (f *File) Unlock(name string) error {
	return f.Edit(func(c *Content) error {
		c.forget(name)
		return nil
	})
}

func (c *Content) forget(name string) {
	delete(c.Drivers, name)
	delete(c.Pending, name)
	delete(c.Installed, name)
}

// Entries returns all accepted digests by the binary's name.
func (f *File) Entries() (map[string]string, error) {
	content, err := f.Read()
	return content.Drivers, err
}

// Edit changes the content, unless change fails. Nobody else changes it meanwhile.
func (f *File) Edit(change func(*Content) error) (err error) {
	release, err := f.hold()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, release()) }()
	return f.edit(change)
}

// edit is Edit for those who hold the guard.
func (f *File) edit(change func(*Content) error) error {
	content, err := f.Read()
	if err != nil {
		return err
	}
	before, err := json.Marshal(content)
	if err != nil {
		return fmt.Errorf("lock file: %w", err)
	}
	if err := change(&content); err != nil {
		return err
	}
	after, err := json.Marshal(content)
	if err != nil {
		return fmt.Errorf("lock file: %w", err)
	}
	if string(before) == string(after) {
		return nil
	}
	data, err := json.MarshalIndent(content, "", "  ")
	if err != nil {
		return fmt.Errorf("lock file: %w", err)
	}
	if err := replace(f.path, append(data, '\n')); err != nil {
		return fmt.Errorf("lock file: %w", err)
	}
	return nil
}

// hold takes the guard, a file beside the lock file: that one is replaced at every change.
func (f *File) hold() (release func() error, err error) {
	f.mu.Lock()
	guard, err := os.OpenFile(f.path+".guard", os.O_CREATE|os.O_RDWR, 0o600)
	if err == nil {
		err = sameOwner(guard, filepath.Dir(f.path))
	}
	if err == nil {
		err = flock(guard)
	}
	if err != nil {
		f.mu.Unlock()
		return nil, fmt.Errorf("guard of the lock file: %w", err)
	}
	return func() error {
		defer f.mu.Unlock()
		return guard.Close() // which lets go of it
	}, nil
}

func flock(file *os.File) error {
	for {
		err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX)
		if !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}

// Read returns the content; that of a file that does not exist is empty. A damaged one is an error, never
// an empty one: that would accept anything with AutoLock.
func (f *File) Read() (Content, error) {
	content := Content{Format: core.Format}
	data, err := os.ReadFile(f.path)
	if err == nil {
		err = json.Unmarshal(data, &content)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return content, core.Errorf(core.CodeCorrupt, "lock file: %s is damaged: %w", f.path, err).
			WithHint("restore %s, or lock the drivers afresh", f.path)
	}
	if content.Format != core.Format {
		return content, core.Errorf(core.CodeUnsupported, "lock file %s is in format %d, this instar reads format %d",
			f.path, content.Format, core.Format)
	}
	for _, m := range []*map[string]string{&content.Drivers, &content.Pending} {
		if *m == nil {
			*m = map[string]string{}
		}
	}
	if content.Installed == nil {
		content.Installed = map[string]Installation{}
	}
	return content, nil
}
