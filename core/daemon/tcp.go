package daemon

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/daemon/bounds"
	"github.com/instarhq/instar/core/identity"
)

const (
	// mostConns bounds the connections to the API over TCP; a quarter of the files that the process may
	// open, if that is less.
	mostConns = 4096
	// headerTime is for a TLS handshake, and for the headers of a request.
	headerTime = 10 * time.Second
	// idleTime is for how long a connection without a request is kept, as long as there is room.
	idleTime   = 2 * time.Minute
	maxHeaders = 64 << 10 // bytes
	maxStreams = 128      // at the same time in one connection of HTTP/2
)

// startTCP serves the API at the configured address, if there is one. A member of a cluster speaks TLS
// there, under the cluster's CA (keeper.API), and may be reached from anywhere; without a configuration it
// is plaintext, for loopback addresses only.
func (d *Daemon) startTCP(ctx context.Context, handler http.Handler, secure *tls.Config) error {
	if d.cfg.Listen == "" {
		return nil
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", d.cfg.Listen)
	if err != nil {
		return fmt.Errorf("API address: %w", err)
	}
	d.tcp = listener
	server := &http.Server{
		ReadHeaderTimeout: headerTime, IdleTimeout: idleTime, MaxHeaderBytes: maxHeaders,
		ConnState:   bounds.NewCrowd(connLimit()).ConnState,
		BaseContext: func(net.Listener) context.Context { return d.ctx }, // streams end with the daemon
		HTTP2:       &http.HTTP2Config{MaxConcurrentStreams: maxStreams, SendPingTimeout: idleTime, WriteByteTimeout: headerTime},
		ErrorLog:    log.New(bounds.Quiet(d.log.Named("http").StandardWriter(&hclog.StandardLoggerOptions{ForceLevel: hclog.Debug})), "", 0),
	}
	serve := func() error { return server.Serve(listener) }
	if secure != nil {
		server.TLSConfig = secure
		// A browser would show its client certificate to whatever page asks it to.
		server.Handler = http.NewCrossOriginProtection().Handler(handler)
		serve = func() error { return server.ServeTLS(listener, "", "") }
	} else {
		server.Handler, server.ConnContext = guarded(handler), d.loopback
	}
	server.Handler = bounds.Patience(server.Handler, endless)
	d.servers = append(d.servers, server)
	go func() {
		if err := serve(); !errors.Is(err, http.ErrServerClosed) {
			d.cancel(fmt.Errorf("API on %s: %w", listener.Addr(), err))
		}
	}()
	return nil
}

// endless are the requests whose bodies are as long as they are.
func endless(r *http.Request) bool { return r.URL.Path == "/v1/restore" }

// connLimit is how many connections the API takes.
func connLimit() int {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil || limit.Cur/4 >= mostConns {
		return mostConns
	}
	return max(16, int(limit.Cur/4))
}

// loopback is for http.Server.ConnContext of a plaintext listener on a loopback address. With -dev every
// user of the machine is the administrator; else a token is needed there as anywhere.
func (d *Daemon) loopback(ctx context.Context, _ net.Conn) context.Context {
	if !d.cfg.AutoLock {
		return ctx
	}
	return identity.WithCaller(ctx, identity.Caller{Principal: identity.Anonymous, Role: core.AccessAdmin})
}
