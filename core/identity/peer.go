package identity

import (
	"context"
	"net"
	"os"
	"os/user"
	"slices"
	"strconv"

	"github.com/instarhq/instar/core"
)

// ConnContext is for http.Server.ConnContext: requests over a unix socket get the principal of the
// process that connected. The user is the one that the process had when it did, and stays that. Root, the
// daemon's own user and the members of the socket's group are administrators; should the socket's
// permissions let others in, they are known by name and may do nothing.
func ConnContext(ctx context.Context, conn net.Conn) context.Context {
	unix, ok := conn.(*net.UnixConn)
	if !ok {
		return ctx
	}
	peer, err := peerOf(unix)
	if err != nil {
		return ctx
	}
	c := Caller{Principal: "local:" + userName(peer.uid)}
	if peer.uid == 0 || int(peer.uid) == os.Geteuid() || inGroup(peer, unix.LocalAddr().String()) {
		c.Role = core.AccessAdmin
	}
	return WithCaller(ctx, c)
}

// credentials are those of a process at the other end of a socket.
type credentials struct{ uid, gid uint32 }

// inGroup reports whether the process is of the group that the socket belongs to.
func inGroup(peer credentials, socket string) bool {
	group, ok := groupOf(socket)
	if !ok {
		return false
	}
	if peer.gid == group {
		return true
	}
	u, err := user.LookupId(strconv.FormatUint(uint64(peer.uid), 10))
	if err != nil {
		return false
	}
	groups, err := u.GroupIds()
	return err == nil && slices.Contains(groups, strconv.FormatUint(uint64(group), 10))
}

// userName is the name of a user of this machine, or its number if it has none.
func userName(uid uint32) string {
	number := strconv.FormatUint(uint64(uid), 10)
	if u, err := user.LookupId(number); err == nil && u.Username != "" {
		return u.Username
	}
	return number
}
