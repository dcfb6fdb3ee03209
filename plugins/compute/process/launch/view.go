package launch

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// enter makes the view, in a mount namespace of its own. Mounts and unmounts of the host still arrive
// there; nothing goes back.
func (v *View) enter() error {
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("make a mount namespace: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
		return fmt.Errorf("detach the mounts from the host's: %w", err)
	}
	// Opened before they are hidden, and after the namespace was made: a bind mount takes only what is in
	// the same one.
	kept := map[string]*os.File{}
	defer func() {
		for _, file := range kept {
			_ = file.Close() // nothing was written to it
		}
	}()
	for _, path := range append(append([]string{}, v.Writable...), v.ReadOnly...) {
		file, err := os.OpenFile(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
		if err != nil {
			return err
		}
		kept[path] = file
	}
	unix.Umask(0) // what is made above the kept paths must be passable
	if err := mountEmpty(v.Hide); err != nil {
		return err
	}
	for _, path := range v.Writable {
		if err := bind(kept[path], path, 0); err != nil {
			return err
		}
	}
	for _, path := range v.ReadOnly {
		if err := bind(kept[path], path, unix.MS_RDONLY); err != nil {
			return err
		}
	}
	return remount(v.Hide, unix.MS_RDONLY)
}

func mountEmpty(path string) error {
	if err := unix.Mount("instar", path, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0711,size=64k,nr_inodes=256"); err != nil {
		return fmt.Errorf("hide %s: %w", path, err)
	}
	return nil
}

func bind(from *os.File, path string, flags uintptr) error {
	if err := os.MkdirAll(path, 0o711); err != nil {
		return err
	}
	source := "/proc/self/fd/" + strconv.Itoa(int(from.Fd()))
	if err := unix.Mount(source, path, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("show %s: %w", path, err)
	}
	return remount(path, flags)
}

func remount(path string, flags uintptr) error {
	err := unix.Mount("", path, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_NOSUID|unix.MS_NODEV|flags, "")
	if err != nil {
		return fmt.Errorf("remount %s: %w", path, err)
	}
	return nil
}

// HideFor returns the directory that a View for the given user hides: the topmost one on the way to state
// that the user cannot enter, or else state itself.
func HideFor(state string, uid, gid int) (string, error) {
	at := "/"
	for {
		blocked, err := closed(at, uid, gid)
		if err != nil {
			return "", err
		}
		if blocked || at == state {
			return at, nil
		}
		rel, err := filepath.Rel(at, state)
		if err != nil {
			return "", err
		}
		first, _, _ := strings.Cut(rel, "/")
		at = filepath.Join(at, first)
	}
}

// closed reports whether a directory's permissions keep the user from passing through it.
func closed(dir string, uid, gid int) (bool, error) {
	info, err := os.Stat(dir)
	if err != nil {
		return false, err
	}
	st := info.Sys().(*syscall.Stat_t)
	search := uint32(0o001)
	switch {
	case int(st.Uid) == uid:
		search = 0o100
	case int(st.Gid) == gid:
		search = 0o010
	}
	return st.Mode&search == 0, nil
}
