package haproxy

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"maps"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/instarhq/instar/plugins/traffic/haproxy/layout"
	"github.com/instarhq/instar/plugins/traffic/haproxy/socket"
	"github.com/instarhq/instar/sdk"
	"github.com/instarhq/instar/sdk/serve"
)

var (
	_ sdk.Traffic  = (*Driver)(nil)
	_ serve.Closer = (*Driver)(nil)
)

// Driver keeps one HAProxy as its routes want it.
type Driver struct {
	logger hclog.Logger
	store  *store // the state, and the right to change it

	target  atomic.Pointer[target] // nil until configured
	keeping sync.Once              // starts keep
	kept    sync.WaitGroup
	ctx     context.Context // of keep
	stop    context.CancelFunc
	wake    chan struct{} // keep has something to do now
	counts  counts
	health  health
}

// Option changes how a driver is made.
type Option func(*Driver)

// WithLogger sets the logger; the default is that of sdk/serve.
func WithLogger(logger hclog.Logger) Option { return func(d *Driver) { d.logger = logger } }

// New makes the driver.
func New(options ...Option) *Driver {
	d := &Driver{
		logger: serve.Logger("haproxy"), store: newStore(), wake: make(chan struct{}, 1),
		counts: newCounts(), health: newHealth(),
	}
	d.ctx, d.stop = context.WithCancel(context.Background())
	for _, o := range options {
		o(d)
	}
	return d
}

// Describe implements sdk.Driver.
func (d *Driver) Describe(context.Context) (sdk.Description, error) { return describe(), nil }

// Configure implements sdk.Driver. An HAProxy that is not there makes the target unhealthy, and is no
// reason to refuse the configuration.
func (d *Driver) Configure(ctx context.Context, req sdk.ConfigureRequest) error {
	t, err := decodeTarget(req.Config)
	if err != nil {
		return err
	}
	if req.StateDir == "" {
		return sdk.InvalidConfig("state_dir", "the driver needs a directory for its state")
	}
	unlock, err := d.store.open(ctx, req.StateDir)
	if err != nil {
		return err
	}
	defer unlock()
	state := d.store.state()
	if old := state.Configure; old != nil && req.Generation < old.Generation {
		return sdk.Conflict("cluster generation %d is older than %d, for which this target was configured", req.Generation, old.Generation)
	}
	sum := sha256.Sum256([]byte(req.StateDir))
	t.settings.Token = hex.EncodeToString(sum[:4])
	t.settings.DualStack = dualStack()
	req.StateDir = ""
	if state.Configure == nil || !sameConfiguration(*state.Configure, req) {
		state.Configure = &req
		if err := d.store.save(state); err != nil {
			return err
		}
	}
	if err := d.store.own(); err != nil {
		return err
	}
	d.target.Store(t)
	first, cancel := context.WithTimeout(ctx, firstPatience)
	defer cancel()
	_ = d.noteHealth(d.converge(first)) // it is the target's health, and nothing more
	d.keeping.Do(func() { d.kept.Go(d.keep) })
	return nil
}

// firstPatience is how long Configure waits for HAProxy.
const firstPatience = 4 * time.Second

func sameConfiguration(a, b sdk.ConfigureRequest) bool {
	same := bytes.Equal(a.Config, b.Config)
	a.Config, b.Config = nil, nil
	return same && a.Target == b.Target && a.Node == b.Node && a.Cluster == b.Cluster && a.Generation == b.Generation
}

// dualStack says whether this machine speaks IPv6.
func dualStack() bool {
	ln, err := new(net.ListenConfig).Listen(context.Background(), "tcp6", "[::]:0")
	if err != nil {
		return false
	}
	_ = ln.Close() // nobody has used it
	return true
}

// configured is the target, or an error if there is none yet.
func (d *Driver) configured() (*target, error) {
	if t := d.target.Load(); t != nil {
		return t, nil
	}
	return nil, sdk.Unavailable(0, "the driver is not configured")
}

func (t *target) master() socket.Master { return socket.Master{Path: t.MasterSocket, Seen: &t.seen} }

// lock gives the right to change state and HAProxy.
func (d *Driver) lock(ctx context.Context) (*target, func(), error) {
	t, err := d.configured()
	if err != nil {
		return nil, nil, err
	}
	unlock, err := d.store.lock(ctx)
	if err == nil && d.store.superseded() {
		unlock()
		return nil, nil, sdk.Unavailable(0, "another process of this driver has taken over")
	}
	return t, unlock, err
}

// List implements sdk.Traffic.
func (d *Driver) List(context.Context) ([]string, error) {
	if _, err := d.configured(); err != nil {
		return nil, err
	}
	return slices.Sorted(maps.Keys(d.store.state().Routes)), nil
}

// Hold implements sdk.Traffic.
func (d *Driver) Hold(context.Context, string, sdk.HoldLimits) error {
	return sdk.Unsupported("HAProxy cannot hold requests; the traffic driver proxy can")
}

// Release implements sdk.Traffic.
func (d *Driver) Release(context.Context, string) error {
	return sdk.Unsupported("HAProxy cannot hold requests; the traffic driver proxy can")
}

// Close implements serve.Closer. HAProxy goes on as it is.
func (d *Driver) Close(ctx context.Context) error {
	d.stop()
	d.kept.Wait()
	ctx, cancel := context.WithTimeout(ctx, closePatience)
	defer cancel()
	return errors.Join(d.handOver(ctx), d.store.close())
}

// closePatience is how long Close waits for HAProxy.
const closePatience = 2 * time.Second

// render writes the configuration of a state.
func (t *target) render(state layout.State) layout.Rendering {
	return layout.Render(t.settings, state, func(r sdk.Route) layout.Options {
		options, err := decodeRoute(r.Config)
		if err != nil { // it was decoded before it was stored; another version of the driver may see it otherwise
			options = layout.Options{ResponseTimeout: time.Minute}
		}
		return options
	})
}
