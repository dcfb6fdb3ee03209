package lockfile

import (
	"errors"
	"os"
	"path/filepath"

	"github.com/instarhq/instar/core"
)

// Install puts a binary into its place and accepts it. The new binary is the file temporary, in the directory of
// i.Path; it is moved. may is asked first, under the guard, with what the file has.
//
// Whatever crashes, the binary that is in the place may be launched: the new digest is accepted before it is there,
// and the old one until it has gone.
func (f *File) Install(temporary string, i Installation, may func(Content) error) (err error) {
	release, err := f.hold()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, release()) }()
	content, err := f.Read()
	if err != nil {
		return err
	}
	if err := may(content); err != nil {
		return err
	}
	name := filepath.Base(i.Path)
	err = f.edit(func(c *Content) error {
		c.Pending[name] = string(i.Digest)
		return nil
	})
	if err != nil {
		return err
	}
	if err := os.Rename(temporary, i.Path); err != nil {
		return err
	}
	if err := syncDir(filepath.Dir(i.Path)); err != nil {
		return err
	}
	return f.edit(func(c *Content) error {
		delete(c.Pending, name)
		c.Drivers[name], c.Installed[name] = string(i.Digest), i
		return nil
	})
}

// Remove removes an installed binary, and then its entries.
func (f *File) Remove(name string) (i Installation, err error) {
	release, err := f.hold()
	if err != nil {
		return i, err
	}
	defer func() { err = errors.Join(err, release()) }()
	content, err := f.Read()
	if err != nil {
		return i, err
	}
	i, ok := content.Installed[name]
	if !ok {
		return i, core.Errorf(core.CodeNotFound, "the lock file %s has no installed driver %s", f.path, name)
	}
	if err := os.Remove(i.Path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return i, err
	}
	if err := syncDir(filepath.Dir(i.Path)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return i, err
	}
	return i, f.edit(func(c *Content) error {
		c.forget(name)
		return nil
	})
}
