package identity

import (
	"context"
	"net"
	"os/user"
	"strconv"
)

// Anonymous is the principal of a caller whom nothing identifies.
const Anonymous = "anonymous"

type principalKey struct{}

// WithPrincipal returns a context that carries a principal.
func WithPrincipal(ctx context.Context, principal string) context.Context {
	return context.WithValue(ctx, principalKey{}, principal)
}

// Principal returns the principal that ctx carries, Anonymous if there is none.
func Principal(ctx context.Context) string {
	if p, ok := ctx.Value(principalKey{}).(string); ok {
		return p
	}
	return Anonymous
}

// ConnContext is for http.Server.ConnContext: requests over a unix socket get the principal of the
// process that connected. The user is the one that the process had when it did, and stays that.
func ConnContext(ctx context.Context, conn net.Conn) context.Context {
	unix, ok := conn.(*net.UnixConn)
	if !ok {
		return ctx
	}
	uid, err := peerUID(unix)
	if err != nil {
		return ctx
	}
	return WithPrincipal(ctx, "local:"+userName(uid))
}

// userName is the name of a user of this machine, or its number if it has none.
func userName(uid uint32) string {
	number := strconv.FormatUint(uint64(uid), 10)
	if u, err := user.LookupId(number); err == nil && u.Username != "" {
		return u.Username
	}
	return number
}
