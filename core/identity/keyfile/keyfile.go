// Package keyfile reads and writes the files that keys and certificates are kept in: each one is there
// whole or as before, whatever crashes, and a key that others could read is not used.
package keyfile

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/instarhq/instar/core"
)

// Modes of files.
const (
	Secret os.FileMode = 0o600
	Public os.FileMode = 0o644
)

// Write replaces a file, by writing a new one, syncing it and renaming it. The directory is made if needed.
func Write(path string, data []byte, mode os.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	temp, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer func() { _ = os.Remove(temp.Name()) }() // gone already if all went well
	_, err = temp.Write(data)
	if err := errors.Join(err, temp.Chmod(mode), temp.Sync(), temp.Close()); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return Rename(temp.Name(), path)
}

// Rename moves a file to another name in the same directory, durably.
func Rename(from, to string) error {
	if err := os.Rename(from, to); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(to))
	if err != nil {
		return err
	}
	if err := errors.Join(dir.Sync(), dir.Close()); err != nil {
		return fmt.Errorf("sync %s: %w", dir.Name(), err)
	}
	return nil
}

// ReadSecret reads a file that only its owner may read. fs.ErrNotExist if there is none.
func ReadSecret(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return nil, core.Errorf(core.CodeDenied, "%s has mode %04o: others than its owner may read it", path, mode).
			WithHint("if nobody can have read it: chmod 600 %s; else have it issued anew", path)
	}
	return os.ReadFile(path)
}
