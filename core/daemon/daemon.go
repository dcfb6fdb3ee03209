package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/go-hclog"

	"github.com/instarhq/instar/core/control"
	"github.com/instarhq/instar/core/driverhost"
	"github.com/instarhq/instar/core/mesh"
	"github.com/instarhq/instar/core/state"
	"github.com/instarhq/instar/core/steady"
	"github.com/instarhq/instar/core/telemetry"
	"github.com/instarhq/instar/raftstore"
)

// Daemon is one node. Make one with New, Start it, Wait for its end, and Close it.
type Daemon struct {
	cfg Config
	log hclog.Logger

	clock      *steady.Clock // of what is kept in the store and has a duration
	dir        *dataDir
	member     *member // nil: this node is a cluster of its own
	store      *raftstore.Store
	state      *state.State
	host       *driverhost.Host
	operations *control.Operations
	mesh       *mesh.Mesh // nil: there are no other nodes
	beats      *beats
	snapshots  *snapshots
	artifacts  *artifacts
	api        swap           // what the API answers with now
	servers    []*http.Server // of the API
	tcp        net.Listener   // nil: none
	telemetry  *telemetry.Telemetry
	metrics    net.Listener // where Prometheus is answered without credentials; nil: nowhere
	scrapes    *http.Server // on it

	ctx    context.Context // ends when Close begins, or a part fails
	cancel context.CancelCauseFunc
	group  sync.WaitGroup // what the parts run in the background

	retiring atomic.Bool // set when Close begins to let others take over

	started   []part
	closeOnce sync.Once
	closeErr  error
}

// part is one thing that a daemon consists of.
type part struct {
	name  string
	start func(context.Context) error
	stop  func() error // nil: it ends with the daemon's context
}

// parts is the daemon, in the order of its start.
func (d *Daemon) parts() []part {
	if d.cfg.Membership != nil {
		return d.memberParts()
	}
	return []part{
		{"data directory", d.openDir, func() error { return d.dir.close() }},
		{"metrics address", d.startMetrics, d.stopMetrics},
		{"store", d.openStore, func() error { return d.store.Close() }},
		{"state", d.startState, nil},
		{"drivers", d.startDrivers, func() error { return d.host.Close() }},
		{"control", d.startControl, nil},
		{"agent", d.startAgent, nil},
		{"snapshots", d.startSnapshots, nil},
		{"telemetry", d.startTelemetry, d.stopTelemetry},
		{"API", d.startAPI, d.stopAPI},
	}
}

// memberParts is the daemon of a node of a cluster of several. It answers at its socket early: before it is
// a member there is something to be said to it, and until it has caught up something to be asked.
func (d *Daemon) memberParts() []part {
	return []part{
		{"data directory", d.openDir, func() error { return d.dir.close() }},
		{"metrics address", d.startMetrics, d.stopMetrics},
		{"cluster address", d.openMember, func() error { return d.member.close() }},
		{"API socket", d.startSetup, d.stopAPI},
		{"membership", d.awaitMembership, nil},
		{"store", d.openStore, func() error { return d.store.Close() }},
		{"identity of the cluster", d.awaitIdentity, nil},
		{"state", d.startState, nil},
		{"drivers", d.startDrivers, func() error { return d.host.Close() }},
		{"members", d.startCluster, nil},
		{"control", d.startControl, nil},
		{"agent", d.startAgent, nil},
		{"snapshots", d.startSnapshots, nil},
		{"telemetry", d.startTelemetry, d.stopTelemetry},
		{"API", d.startMemberAPI, nil},
	}
}

// New checks the configuration and makes a daemon of it, which has touched nothing yet.
func New(cfg Config) (*Daemon, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	figures, err := telemetry.New(cfg.Version)
	if err != nil {
		return nil, err
	}
	d := &Daemon{cfg: cfg, log: cfg.Logger, clock: steady.New(), telemetry: figures}
	d.ctx, d.cancel = context.WithCancelCause(context.Background())
	return d, nil
}

// Start starts every part and returns when the API answers. If a part does not start, those before it
// are stopped again. ctx bounds the start only.
func (d *Daemon) Start(ctx context.Context) error {
	for _, p := range d.parts() {
		if err := p.start(ctx); err != nil {
			err = fmt.Errorf("start %s: %w", p.name, err)
			return errors.Join(err, d.Close())
		}
		d.started = append(d.started, p)
	}
	return nil
}

// errClosed is why the daemon's context ends when it is asked to.
var errClosed = errors.New("closed")

// Wait returns when the daemon has been closed, with nil, or a part of it has failed, with the reason.
// Then Close it.
func (d *Daemon) Wait() error {
	<-d.ctx.Done()
	if err := context.Cause(d.ctx); !errors.Is(err, errClosed) {
		return err
	}
	return nil
}

// Close ends every loop, and then stops the parts in the opposite order of their start. Drivers and
// instances go on.
func (d *Daemon) Close() error {
	d.closeOnce.Do(func() {
		if d.member != nil && d.store != nil && d.ctx.Err() == nil {
			d.retiring.Store(true)
			d.retire()
		}
		d.cancel(errClosed)
		d.group.Wait()
		var errs []error
		for i := len(d.started) - 1; i >= 0; i-- {
			p := d.started[i]
			if p.stop == nil {
				continue
			}
			if err := p.stop(); err != nil {
				errs = append(errs, fmt.Errorf("stop %s: %w", p.name, err))
			}
		}
		d.closeErr = errors.Join(errs...)
	})
	return d.closeErr
}

// background runs a part's loop until the daemon ends. A loop that ends before ends the daemon: a node
// that does half of its work is worse than one that is restarted.
func (d *Daemon) background(name string, run func(context.Context) error) {
	d.group.Go(func() {
		err := run(d.ctx)
		if d.ctx.Err() != nil {
			return
		}
		if err == nil {
			err = errors.New("ended without a reason")
		}
		if d.retiring.Load() { // what others do meanwhile is no failure of a node that ends anyhow
			d.log.Warn("a part ended before the daemon did", "part", name, "error", err)
			d.cancel(errClosed)
			return
		}
		d.cancel(fmt.Errorf("%s: %w", name, err))
	})
}

// Address is where the API listens over TCP, nil if it does not.
func (d *Daemon) Address() net.Addr {
	if d.tcp == nil {
		return nil
	}
	return d.tcp.Addr()
}

// Socket is the path of the API's unix socket.
func (d *Daemon) Socket() string { return d.cfg.Socket }
