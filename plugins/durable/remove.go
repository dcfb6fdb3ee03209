package durable

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// RemoveTree removes a directory and all that is in it, also what its owner may not write to. Nothing may
// be changing it meanwhile. A directory that is not there is no error.
func RemoveTree(dir string) error {
	err := os.RemoveAll(dir)
	if !errors.Is(err, fs.ErrPermission) {
		return err
	}
	err = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() {
			return os.Chmod(path, 0o700) // before WalkDir reads it
		}
		return err
	})
	if err != nil {
		return err
	}
	return os.RemoveAll(dir)
}
