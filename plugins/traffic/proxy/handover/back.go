package handover

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
)

// The back door is a socket in the kernel's abstract namespace, named after the directory's path. A process
// that finds the directory empty, because it was lost, can still find the one that serves, take its
// listeners, and learn its routes. It opens only when the directory really was lost for the one behind it:
// at the same path in a container there may be another one's.
//
// Anybody can take the name first; then there is no back door. What answers is believed only if it is of
// the same user, or root.

func backName(dir string) string {
	sum := sha256.Sum256([]byte(filepath.Clean(dir)))
	return "@instar-proxy-" + hex.EncodeToString(sum[:12])
}

func (d *Door) openBack(dir string) {
	held, err := os.Stat(d.path)
	if err != nil {
		return // nothing would tell whether it was lost
	}
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: backName(dir), Net: "unix"})
	if err != nil {
		return // a process that is about to end has it, or a stranger
	}
	d.held, d.back = held, ln
	go d.listen(ln, d.lost)
}

// lost reports whether the directory that the door was made in is not there any more.
func (d *Door) lost() bool {
	now, err := os.Stat(d.path)
	if err != nil {
		return errors.Is(err, fs.ErrNotExist)
	}
	return !os.SameFile(now, d.held)
}

// DialLost knocks at the back door of a directory that has nothing in it. ErrNobody if nobody is behind it.
func DialLost(dir string) (*Link, error) {
	if _, err := os.Lstat(filepath.Join(dir, lockName)); !errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNobody // it was not lost
	}
	c, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: backName(dir), Net: "unix"})
	if err != nil {
		return nil, ErrNobody
	}
	if uid, err := peerUser(c); err != nil || (uid != uint32(os.Geteuid()) && uid != 0) {
		_ = c.Close() // a stranger
		return nil, ErrNobody
	}
	return newLink(c), nil
}
