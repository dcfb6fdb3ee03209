package handover

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
)

// The files in the directory.
const (
	lockName = "lock"
	doorName = "door"
)

// ErrNobody says that no process answers at the door.
var ErrNobody = errors.New("no process is in charge")

// ErrLocked says that another process holds the lock.
var ErrLocked = errors.New("another process is in charge")

// Lock is a process's claim to be the one in charge.
type Lock struct{ file *os.File }

// TakeLock takes the lock of dir, without waiting.
func TakeLock(dir string) (*Lock, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		if errors.Is(err, syscall.EWOULDBLOCK) {
			err = ErrLocked
		}
		return nil, errors.Join(err, f.Close())
	}
	return &Lock{f}, nil
}

// Release gives the lock free.
func (l *Lock) Release() error { return l.file.Close() }

// Door is where the next process knocks: in the directory, and at the back for one that finds the directory
// empty.
type Door struct {
	ln   *net.UnixListener
	back *net.UnixListener // nil: there is none
	held fs.FileInfo       // the lock's file as it was when the door was made
	path string            // of the lock's file

	knocks chan *net.UnixConn
	closed chan struct{}
	once   sync.Once
}

// Open makes the door of dir. Only the holder of the lock may do that.
func Open(dir string) (*Door, error) {
	var door *Door
	err := short(dir, func(path string) error {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
		if err != nil {
			return err
		}
		// The file is left where it is: by the time this door is closed it may be a successor's.
		ln.SetUnlinkOnClose(false)
		door = &Door{ln: ln, path: filepath.Join(dir, lockName), knocks: make(chan *net.UnixConn), closed: make(chan struct{})}
		return os.Chmod(path, 0o600)
	})
	if err != nil {
		return nil, fmt.Errorf("unix socket %s: %w", filepath.Join(dir, doorName), err)
	}
	door.openBack(dir)
	go door.listen(door.ln, func() bool { return true })
	return door, nil
}

// listen passes on those who knock, while they may.
func (d *Door) listen(ln *net.UnixListener, open func() bool) {
	for {
		c, err := ln.AcceptUnix()
		if err != nil {
			return // closed
		}
		if !open() {
			_ = c.Close()
			continue
		}
		select {
		case d.knocks <- c:
		case <-d.closed:
			_ = c.Close()
			return
		}
	}
}

// Accept waits for somebody who knocks. Only the same user, or root, is let in.
func (d *Door) Accept() (*Link, error) {
	for {
		var c *net.UnixConn
		select {
		case c = <-d.knocks:
		case <-d.closed:
			return nil, net.ErrClosed
		}
		if uid, err := peerUser(c); err == nil && (uid == uint32(os.Geteuid()) || uid == 0) {
			return newLink(c), nil
		}
		_ = c.Close()
	}
}

// Close closes the door.
func (d *Door) Close() error {
	d.once.Do(func() { close(d.closed) })
	if d.back != nil {
		_ = d.back.Close() // nothing is left of it in any case
	}
	return d.ln.Close()
}

// Dial knocks at the door of dir. ErrNobody if nobody is behind it.
func Dial(dir string) (*Link, error) {
	var link *Link
	err := short(dir, func(path string) error {
		c, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"})
		if err == nil {
			link = newLink(c)
		}
		return err
	})
	if errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNobody
	}
	return link, err
}

// short calls do with a path to the door that fits a socket address (108 bytes) however long dir is: one
// through an open descriptor of the directory.
func short(dir string, do func(path string) error) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer func() { _ = d.Close() }() // opened for its number only
	return do("/proc/self/fd/" + strconv.Itoa(int(d.Fd())) + "/" + doorName)
}

func peerUser(c *net.UnixConn) (uid uint32, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	cerr := raw.Control(func(fd uintptr) {
		var cred *syscall.Ucred
		if cred, err = syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED); err == nil {
			uid = cred.Uid
		}
	})
	return uid, errors.Join(err, cerr)
}
