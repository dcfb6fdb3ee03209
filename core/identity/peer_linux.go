package identity

import (
	"fmt"
	"net"

	"golang.org/x/sys/unix"
)

// peerOf asks the kernel whose process is at the other end.
func peerOf(conn *net.UnixConn) (credentials, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return credentials{}, fmt.Errorf("peer credentials: %w", err)
	}
	var cred *unix.Ucred
	var credErr error
	err = raw.Control(func(fd uintptr) {
		cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	if err == nil {
		err = credErr
	}
	if err != nil {
		return credentials{}, fmt.Errorf("peer credentials: %w", err)
	}
	return credentials{cred.Uid, cred.Gid}, nil
}

// groupOf is the group that may use a socket; false if the file's mode leaves groups out.
func groupOf(path string) (uint32, bool) {
	var stat unix.Stat_t
	if err := unix.Stat(path, &stat); err != nil {
		return 0, false
	}
	return stat.Gid, stat.Mode&0o020 != 0
}
