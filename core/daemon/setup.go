package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/api"
	"github.com/instarhq/instar/core/cluster"
	"github.com/instarhq/instar/core/identity"
)

// startSetup answers at the socket from now on: at first to whoever makes this node a member.
func (d *Daemon) startSetup(ctx context.Context) error {
	choice := &setup{daemon: d, chosen: make(chan *cluster.Record, 1)}
	d.member.setup = choice
	d.api.set(api.NewSetup(api.SetupConfig{
		Node: d.cfg.Node, Version: d.cfg.Version, Waiting: d.member.waits, Init: choice.init, Join: choice.join, Restore: choice.restore, Logger: d.log,
	}))
	unix, err := listenUnix(ctx, d.cfg.Socket)
	if err != nil {
		return err
	}
	d.serve(unix, &d.api)
	return nil
}

// setup is the choice between beginning a cluster and joining one. It is made once.
type setup struct {
	daemon *Daemon
	chosen chan *cluster.Record
}

// init begins a cluster, and returns when it has begun.
func (s *setup) init(ctx context.Context, name string) (core.Joined, error) {
	m := s.daemon.member
	if name == "" {
		name = s.daemon.cfg.Cluster
	}
	if name == "" {
		name = "main"
	}
	if err := core.CheckName("cluster", name); err != nil {
		return core.Joined{}, err
	}
	if configured := s.daemon.cfg.Cluster; configured != "" && configured != name {
		return core.Joined{}, core.Errorf(core.CodeInvalid, "the configuration names the cluster %q, not %q", configured, name)
	}
	record := &cluster.Record{Phase: cluster.PhaseFounding, Node: s.daemon.cfg.Node, Name: name}
	if err := m.choose(record, func() error { return record.Save(s.daemon.cfg.DataDir) }); err != nil {
		return core.Joined{}, err
	}
	s.chosen <- record
	select {
	case out := <-m.founded:
		m.founded <- out
		return out.joined, out.err
	case <-ctx.Done():
		return core.Joined{}, ctx.Err()
	case <-s.daemon.ctx.Done():
		return core.Joined{}, core.Errorf(core.CodeUnavailable, "instard ends: %w", context.Cause(s.daemon.ctx))
	}
}

// join becomes a member with a token.
func (s *setup) join(ctx context.Context, token string) (core.Joined, error) {
	m := s.daemon.member
	var joined core.Joined
	var record *cluster.Record
	err := m.choose(nil, func() (err error) {
		joined, record, err = cluster.Join(ctx, cluster.JoinConfig{
			Token: strings.TrimSpace(token), Node: s.daemon.cfg.Node, Address: m.address, API: apiNames(&s.daemon.cfg),
			Version: s.daemon.cfg.Version, Level: s.daemon.cfg.Membership.Level, DataDir: s.daemon.cfg.DataDir, Keeper: m.keeper,
		})
		if err == nil {
			m.record = record
		}
		return err
	})
	if err != nil {
		return core.Joined{}, err
	}
	if name := s.daemon.cfg.Cluster; name != "" && name != joined.Cluster {
		s.daemon.log.Warn("the configuration names another cluster than the one that was joined", "configured", name, "joined", joined.Cluster)
	}
	s.chosen <- record
	return joined, nil
}

// choose makes the choice, one attempt at a time.
func (m *member) choose(record *cluster.Record, do func() error) error {
	m.choosing.Lock()
	defer m.choosing.Unlock()
	if m.record != nil {
		return core.Errorf(core.CodeConflict, "node %q is becoming a member of the cluster %q already", m.node, m.record.Name)
	}
	if err := do(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if record != nil {
		m.record = record
	}
	return nil
}

// tokenEvery is how often the file of a join token is looked for, and a join is tried again.
const tokenEvery = 5 * time.Second

// awaitMembership returns when it is known how the node's store is to be opened: it is a member, or has a
// store of its own, or has been told what to become.
func (d *Daemon) awaitMembership(ctx context.Context) error {
	m := d.member
	if m.record != nil {
		m.wait("its store")
		return nil
	}
	if _, err := os.Stat(filepath.Join(d.dir.file("store"), "state.db")); err == nil {
		return nil // a cluster of its own, which may become one of several
	}
	if request, err := d.dir.pending(); err != nil || request != nil {
		m.wait("a restore")
		return err
	}
	m.wait("instar cluster init, or instar cluster join TOKEN")
	d.log.Info("this node is no member of a cluster yet: it waits for `instar cluster init` or `instar cluster join TOKEN`", "socket", d.cfg.Socket)
	if d.cfg.Membership.JoinTokenFile != "" {
		m.wait("a join with the token in " + d.cfg.Membership.JoinTokenFile)
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		go d.joinByFile(ctx)
	}
	select {
	case record := <-m.setup.chosen:
		m.book.Load(record)
		m.wait("the state of the cluster " + record.Name)
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-d.ctx.Done():
		return context.Cause(d.ctx)
	}
}

// joinByFile joins with the token of a file, trying until it works or the choice has been made otherwise.
func (d *Daemon) joinByFile(ctx context.Context) {
	tick := time.NewTicker(tokenEvery)
	defer tick.Stop()
	for {
		token, err := os.ReadFile(d.cfg.Membership.JoinTokenFile)
		if err == nil {
			_, err = d.member.setup.join(ctx, string(token))
		}
		if err == nil || ctx.Err() != nil {
			return
		}
		d.log.Warn("cannot join with the token of the file, trying again", "file", d.cfg.Membership.JoinTokenFile, "error", err)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// identityEvery is how often a new member looks whether its cluster's state has come.
const identityEvery = 20 * time.Millisecond

// awaitIdentity waits until a new member has heard from its cluster: everything after needs to know which one it is.
func (d *Daemon) awaitIdentity(ctx context.Context) error {
	tick := time.NewTicker(identityEvery)
	defer tick.Stop()
	for d.store.ClusterID() == "" {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		case <-d.ctx.Done():
			return context.Cause(d.ctx)
		}
	}
	if r := d.member.record; r != nil && r.ID != "" && r.ID != d.store.ClusterID() {
		return core.Errorf(core.CodeCorrupt, "the store is of cluster %s, the node is a member of %s", d.store.ClusterID(), r.ID).
			WithHint("the data directory is a mixture of two: begin with an empty one and join again")
	}
	return nil
}

// startCluster takes part in the cluster, and begins it if that is what the node was told.
func (d *Daemon) startCluster(ctx context.Context) (err error) {
	m := d.member
	m.cluster, err = cluster.New(cluster.Config{
		Node: d.cfg.Node, Address: m.address, API: apiNames(&d.cfg), Version: d.cfg.Version, DataDir: d.cfg.DataDir,
		State: d.state, Raft: raftMembers{d.store}, Mesh: m.mesh, Keeper: m.keeper, Book: m.book, Record: m.record,
		Steady: d.clock.Now, DeadAfter: d.cfg.Membership.DeadAfter, NodeGrace: d.cfg.Membership.NodeGrace, Level: d.cfg.Membership.Level,
		Every: d.cfg.Membership.Every, Stable: d.cfg.Membership.Stable, Logger: d.log,
	})
	if err != nil {
		return err
	}
	if m.record != nil && m.record.Phase == cluster.PhaseFounding {
		ctx := identity.WithPrincipal(ctx, "local")
		joined, err := m.cluster.Init(ctx, core.Meta{Principal: identity.Principal(ctx)})
		m.founded <- founding{joined, err}
		if err != nil {
			return err
		}
	}
	d.background("membership", m.cluster.Run)
	d.background("membership's leader", func(ctx context.Context) error { return d.store.Lead(ctx, m.cluster.Lead) })
	d.background("departure", func(ctx context.Context) error {
		select {
		case <-m.cluster.Left():
			return ErrLeft
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	return nil
}

// ErrLeft ends the daemon of a node that has left its cluster: it is no failure.
var ErrLeft = errors.New("this node has left the cluster; its data directory is of no use any more (instard teardown ends what still runs)")

// apiNames are what people reach the API by.
func apiNames(c *Config) []string {
	if c.Listen == "" {
		return nil
	}
	return []string{c.Listen}
}

// catchUp tells when the replica has seen all that was committed when the node started.
func (d *Daemon) catchUp(ctx context.Context) error {
	for {
		one, cancel := context.WithTimeout(ctx, 5*time.Second)
		err := d.current(one)
		cancel()
		if err == nil {
			d.member.wait("")
			<-ctx.Done()
			return ctx.Err()
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		d.member.wait(fmt.Sprintf("the state of the cluster (%v)", err))
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
