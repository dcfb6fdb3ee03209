package lockfile

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/instarhq/instar/core"
)

// Digest is the SHA-256 of a file.
func Digest(path string) (core.Digest, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = file.Close() }() // read only
	hash := sha256.New()
	if _, err := io.Copy(hash, file); err != nil {
		return "", fmt.Errorf("digest of %s: %w", path, err)
	}
	return core.Digest("sha256:" + hex.EncodeToString(hash.Sum(nil))), nil
}

// replace writes a file so that a crash leaves the old or the new content. It belongs to whom the old one belonged:
// root may run the command, and another user the daemon.
func replace(path string, data []byte) (err error) {
	file, err := os.CreateTemp(filepath.Dir(path), ".new-"+filepath.Base(path)+"-")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(file.Name()) // best effort beside the error that is returned
		}
	}()
	_, err = file.Write(data)
	owner := path
	if _, missing := os.Stat(path); errors.Is(missing, fs.ErrNotExist) {
		owner = filepath.Dir(path)
	}
	if err = errors.Join(err, sameOwner(file, owner), file.Sync(), file.Close()); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	if err := os.Rename(file.Name(), path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// sameOwner gives a file to the owner of another, if we may.
func sameOwner(file *os.File, as string) error {
	info, err := os.Stat(as)
	if err != nil {
		return err
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok || os.Geteuid() != 0 || stat.Uid == 0 {
		return nil
	}
	return file.Chown(int(stat.Uid), int(stat.Gid))
}

func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
