package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/instarhq/instar/core/api"
	"github.com/instarhq/instar/core/identity"
)

const (
	// socketMode lets the owner's and the group's users connect: whoever can is an administrator.
	socketMode = 0o660
	// apiGrace is what requests under way get when the daemon ends.
	apiGrace = 2 * time.Second
	// longestSocketPath is what fits into a unix socket's address on every system.
	longestSocketPath = 103
)

func (d *Daemon) startAPI(ctx context.Context) error {
	handler, err := d.handler()
	if err != nil {
		return err
	}
	d.api.set(handler)
	unix, err := listenUnix(ctx, d.cfg.Socket)
	if err != nil {
		return err
	}
	d.serve(unix, handler)
	if err := d.startTCP(ctx, handler, nil); err != nil {
		return errors.Join(err, d.stopAPI())
	}
	return nil
}

// startMemberAPI answers with the whole API from now on, at the socket and on the API address, and to what
// other members pass on.
func (d *Daemon) startMemberAPI(ctx context.Context) error {
	config, err := d.apiConfig()
	if err != nil {
		return err
	}
	forwarding := d.forwarding()
	config.Membership, config.Ready, config.Leader = d.member.cluster, d.member.waits, d.leader
	config.Logs = &logs{d.cfg.Node, d.state, d.host, d.member.mesh}
	config.VerifyClient = d.member.keeper.VerifyClient
	config.SignClient = d.member.cluster.SignClient
	config.Forward = forwarding.LeaderOnly
	config.Observer = nil // each request is counted where its client sent it
	d.serveOthers(api.New(config))
	config.Forward, config.Observer = forwarding.Handler, d.telemetry
	handler := api.New(config)
	if err := d.startTCP(ctx, handler, d.member.keeper.API("h2", "http/1.1")); err != nil {
		return err
	}
	d.api.set(handler)
	d.background("catching up", d.catchUp)
	return nil
}

// serve answers on a listener until stopAPI.
func (d *Daemon) serve(l net.Listener, handler http.Handler) {
	server := &http.Server{
		Handler: handler, ConnContext: identity.ConnContext,
		ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute,
		BaseContext: func(net.Listener) context.Context { return d.ctx }, // streams end with the daemon
		ErrorLog:    d.log.Named("http").StandardLogger(nil),
	}
	d.servers = append(d.servers, server)
	go func() {
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			d.cancel(fmt.Errorf("API on %s: %w", l.Addr(), err))
		}
	}()
}

func (d *Daemon) stopAPI() error {
	ctx, cancel := context.WithTimeout(context.Background(), apiGrace)
	defer cancel()
	var errs []error
	for _, server := range d.servers {
		if server.Shutdown(ctx) != nil {
			errs = append(errs, server.Close()) // whoever still waits learns that the connection is gone
		}
	}
	return errors.Join(errs...)
}

// guarded keeps web pages out of an API that asks nobody for a name: a browser on this machine would
// pass on what a page of anywhere sends to a loopback address, or to a name that resolves to one.
func guarded(next http.Handler) http.Handler {
	return http.NewCrossOriginProtection().Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := r.Host
		if name, _, err := net.SplitHostPort(host); err == nil {
			host = name
		}
		if ip := net.ParseIP(strings.Trim(host, "[]")); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
			http.Error(w, "this API answers under a loopback address only, not as "+strconv.Quote(r.Host), http.StatusMisdirectedRequest)
			return
		}
		next.ServeHTTP(w, r)
	}))
}

func (d *Daemon) handler() (http.Handler, error) {
	config, err := d.apiConfig()
	if err != nil {
		return nil, err
	}
	return api.New(config), nil
}

func (d *Daemon) apiConfig() (api.Config, error) {
	signer, public, err := d.signer()
	if err != nil {
		return api.Config{}, err
	}
	return api.Config{
		State: d.state, Store: d.store, Operations: d.operations, Snapshots: d.snapshots, Logs: &logs{node: d.cfg.Node, state: d.state, host: d.host},
		Signers: []note.Signer{signer}, Keys: []string{public}, Leader: d.store.Leader, Waiting: d.waiting, Drained: d.drained,
		Node: d.cfg.Node, Version: d.cfg.Version, Origin: d.store.Origin(), Logger: d.log,
		Observer: d.telemetry, Metrics: d.telemetry.Handler(), Debug: d.writeDebug,
	}, nil
}

// listenUnix listens on a socket. One that a dead daemon left behind is replaced.
func listenUnix(ctx context.Context, path string) (net.Listener, error) {
	if len(path) > longestSocketPath {
		return nil, fmt.Errorf("the socket's path %s has %d bytes, at most %d work; choose a shorter one with -socket, or a shorter data directory",
			path, len(path), longestSocketPath)
	}
	if info, err := os.Lstat(path); err == nil {
		if info.Mode()&os.ModeSocket == 0 {
			return nil, fmt.Errorf("%s is in the way: it is no socket", path)
		}
		if conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "unix", path); err == nil {
			return nil, errors.Join(fmt.Errorf("%s is in use by another process", path), conn.Close())
		}
		if err := os.Remove(path); err != nil {
			return nil, err
		}
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, socketMode); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}
