package driverhost

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/sdk/launch"
)

// makePrivate makes a directory that only this user can read, or checks one that exists.
func makePrivate(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); !info.IsDir() || (ok && int(stat.Uid) != os.Geteuid()) {
		return fmt.Errorf("%s is no directory of this user", dir)
	}
	if info.Mode().Perm() != 0o700 {
		return os.Chmod(dir, 0o700)
	}
	return nil
}

// acquireGuard makes sure that one Host at a time works on a state directory. The kernel gives the guard
// back when the process ends, however it ends.
func acquireGuard(dir string) (*os.File, error) {
	path := filepath.Join(dir, "guard")
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("guard of the drivers: %w", err)
	}
	err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err == nil {
		return file, nil
	}
	_ = file.Close() // the failed lock is what matters
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, core.Errorf(core.CodeConflict, "another instard supervises the drivers in %s", dir).
			WithHint("stop it, or use another data directory")
	}
	return nil, fmt.Errorf("guard of the drivers: %s: %w", path, err)
}

// socketDir is the directory for sockets: in the state directory, or, where that makes addresses longer
// than the kernel accepts, a private temporary one that is remembered.
func socketDir(state string) (string, error) {
	dir := filepath.Join(state, "s")
	if launch.SocketDirFits(dir) {
		return dir, makePrivate(dir)
	}
	note := filepath.Join(state, "sockets")
	if data, err := os.ReadFile(note); err == nil {
		dir := strings.TrimSpace(string(data))
		if err := makePrivate(dir); err == nil {
			return dir, nil
		}
	}
	// XDG_RUNTIME_DIR is short, private and on a file system that nobody tidies up; /tmp is for the rest.
	var failures []error
	for _, base := range []string{os.Getenv("XDG_RUNTIME_DIR"), os.TempDir(), "/tmp"} {
		if base == "" || !launch.SocketDirFits(filepath.Join(base, "instar-4294967295")) {
			continue
		}
		dir, err := os.MkdirTemp(base, "instar-")
		if err == nil {
			err = writeFile(note, []byte(dir+"\n"))
		}
		if err == nil {
			return dir, nil
		}
		failures = append(failures, err)
	}
	return "", fmt.Errorf("directory for the sockets of drivers, as %s is too long for them: %w", dir, errors.Join(failures...))
}

// writeFile replaces a file in a way that leaves the old or the new content after a crash.
func writeFile(path string, data []byte) (err error) {
	dir := filepath.Dir(path)
	file, err := os.CreateTemp(dir, ".new-"+filepath.Base(path)+"-")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(file.Name()) // best effort beside the error that is returned
		}
	}()
	_, err = file.Write(data)
	if err == nil {
		err = file.Sync()
	}
	if closeErr := file.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	if err := os.Rename(file.Name(), path); err != nil {
		return err
	}
	return syncDir(dir)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func writeJSON(path string, v any) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return writeFile(path, append(data, '\n'))
}

func readJSON(path string, v any) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("%s is damaged: %w", path, err)
	}
	return nil
}
