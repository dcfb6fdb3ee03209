package cluster

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"slices"
	"time"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/identity/keeper"
	"github.com/instarhq/instar/core/identity/token"
	"github.com/instarhq/instar/core/mesh"
)

// Bounds of instar-join/1, where strangers speak.
const (
	joinHeaders = 8 << 10 // bytes
	joinRead    = 5 * time.Second
	joinWrite   = 30 * time.Second
	joinPath    = "/cluster/join"
)

// serveDoor answers machines that want to join, until the layer ends.
func (c *Cluster) serveDoor(ctx context.Context) error {
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+joinPath, c.knock)
	server := &http.Server{
		Handler: mux, MaxHeaderBytes: joinHeaders, ReadTimeout: joinRead, ReadHeaderTimeout: joinRead, WriteTimeout: joinWrite,
		IdleTimeout: joinRead, BaseContext: func(net.Listener) context.Context { return ctx }, ErrorLog: c.log.StandardLogger(nil),
	}
	layer := c.cfg.Mesh.Protocol(mesh.Join)
	stop := context.AfterFunc(ctx, func() { _ = server.Close() }) // also closes the layer
	defer stop()
	_ = server.Serve(layer) // ends with the context, or with the mesh
	return ctx.Err()
}

// knock answers one machine. Failures are counted by where they come from.
func (c *Cluster) knock(w http.ResponseWriter, r *http.Request) {
	source, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		source = r.RemoteAddr
	}
	if err := c.limiter.allow(source); err != nil {
		c.answer(w, nil, err)
		return
	}
	var a application
	if err := read(r, &a); err != nil {
		c.limiter.failed(source)
		c.answer(w, nil, err)
		return
	}
	out, err := c.admitOrRelay(r.Context(), &a)
	if err != nil && !core.Retryable(err) {
		c.limiter.failed(source)
		c.log.Warn("refused a node that wants to join", "node", a.Node, "from", r.RemoteAddr, "token", a.Token, "error", err)
	}
	c.answer(w, out, err)
}

func (c *Cluster) admitOrRelay(ctx context.Context, a *application) (admission, error) {
	if c.cfg.Raft.IsLeader() {
		return c.admit(ctx, a)
	}
	var out admission
	err := c.callLeader(ctx, joinPath, a, &out)
	return out, err
}

// JoinConfig is what a machine needs to become a member.
type JoinConfig struct {
	Token   string // its text
	Node    string
	Address string   // where the members reach it
	API     []string // names and addresses for its certificate
	Version string
	Level   int // default core.Level
	DataDir string
	Keeper  *keeper.Keeper
}

const (
	joinPatience = 20 * time.Second // for one member to answer
	joinRounds   = 3                // through all addresses of the token
	joinPause    = 2 * time.Second
)

// Join makes this machine a member: it proves with the token that it may, and gets its certificate. The
// store is not touched; opened with Join, it waits for the leader.
func Join(ctx context.Context, cfg JoinConfig) (core.Joined, *Record, error) {
	t, err := token.ParseJoin(cfg.Token)
	if err != nil {
		return core.Joined{}, nil, err
	}
	if err := checkAddress(cfg.Address); err != nil {
		return core.Joined{}, nil, err
	}
	if slices.Contains(t.Addresses, cfg.Address) {
		return core.Joined{}, nil, core.Errorf(core.CodeInvalid, "this node would be at %s, where a member of the cluster is already", cfg.Address).
			WithHint("each node needs an address of its own: cluster { advertise = … }")
	}
	if cfg.Level == 0 {
		cfg.Level = core.Level
	}
	csr, err := cfg.Keeper.Request(cfg.Node, append([]string{cfg.Address}, cfg.API...))
	if err != nil {
		return core.Joined{}, nil, err
	}
	a := application{
		Token: t.ID, Secret: t.Secret[:], Node: cfg.Node, Address: cfg.Address, Level: cfg.Level, Version: cfg.Version, CSR: csr,
	}
	in, err := apply(ctx, &t, &a)
	if err != nil {
		return core.Joined{}, nil, err
	}
	if err := cfg.Keeper.Install(in.Certificate, in.Bundle); err != nil {
		return core.Joined{}, nil, err
	}
	record := &Record{Phase: PhaseMember, Node: cfg.Node, Name: in.Name, ID: in.ID, Role: in.Role, Peers: in.Peers}
	if err := record.Save(cfg.DataDir); err != nil {
		return core.Joined{}, nil, err
	}
	return core.Joined{Node: cfg.Node, Cluster: in.Name, ID: in.ID, Role: in.Role, Address: cfg.Address, CA: t.CA}, record, nil
}

// apply asks one member after the other. A refusal is final; a member that cannot answer is not.
func apply(ctx context.Context, t *token.Join, a *application) (admission, error) {
	var last error
	for range joinRounds {
		for _, address := range t.Addresses {
			in, err := applyAt(ctx, address, t.CA, a)
			if err == nil || ctx.Err() != nil || (!core.Retryable(err) && core.CodeOf(err) != core.CodeInternal) {
				return in, err
			}
			last = core.Errorf(core.CodeOf(err), "%s: %w", address, err)
		}
		select {
		case <-time.After(joinPause):
		case <-ctx.Done():
		}
	}
	e := core.Errorf(core.CodeUnavailable, "no member of the cluster could take the request: %w", last)
	return admission{}, e.WithHint("is the cluster address reachable from here, and does the cluster have a leader?")
}

func applyAt(ctx context.Context, address string, digest core.Digest, a *application) (admission, error) {
	ctx, cancel := context.WithTimeout(ctx, joinPatience)
	defer cancel()
	dialer := &tls.Dialer{Config: keeper.Pinned(digest, nil, mesh.Join)}
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, network, address)
		},
	}}
	var in admission
	err := call(ctx, client, http.MethodPost, "http://member"+joinPath, a, &in)
	return in, err
}
