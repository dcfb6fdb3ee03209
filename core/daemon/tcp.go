package daemon

import (
	"context"
	"net"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/identity"
)

// loopback is for http.Server.ConnContext of a plaintext listener on a loopback address. With -dev every
// user of the machine is the administrator; else a token is needed there as anywhere.
func (d *Daemon) loopback(ctx context.Context, _ net.Conn) context.Context {
	if !d.cfg.AutoLock {
		return ctx
	}
	return identity.WithCaller(ctx, identity.Caller{Principal: identity.Anonymous, Role: core.AccessAdmin})
}
