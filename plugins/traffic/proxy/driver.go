package proxy

import (
	"bytes"
	"context"
	"maps"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/instarhq/instar/plugins/traffic/proxy/front"
	"github.com/instarhq/instar/plugins/traffic/proxy/handover"
	"github.com/instarhq/instar/plugins/traffic/proxy/route"
	"github.com/instarhq/instar/plugins/traffic/proxy/state"
	"github.com/instarhq/instar/sdk"
	"github.com/instarhq/instar/sdk/serve"
	"github.com/instarhq/instar/sdk/wire"
)

// EnvStateDir names the state directory for a process that shall serve again, or take over from the
// process before it, at once and not only when it is configured.
const EnvStateDir = "INSTAR_STATE_DIR"

var (
	_ sdk.Traffic  = (*Driver)(nil)
	_ serve.Closer = (*Driver)(nil)
)

// Driver is the proxy.
type Driver struct {
	logger hclog.Logger
	server *front.Server
	exit   func() // ends the process, after another one has taken over and all is drained

	starting sync.Mutex // held during start

	mu          sync.Mutex // the order of all changes; never taken by a request
	dir         string     // the state directory; empty until started
	state       state.State
	routes      map[string]*route.Route
	leaving     map[string][]*route.Route // removed ones that still have requests in flight
	places      map[string]*place         // listeners, by address
	certs       map[sdk.TLS]*front.Certificate
	retrying    bool // a goroutine tries to open places that failed
	lock        *handover.Lock
	door        *handover.Door
	before      *predecessor // the process before this one, while it drains; nil: none
	superseded  bool         // another process has taken over
	closed      bool
	healthWatch chan struct{} // closed and replaced when the health may have changed
}

// Option changes how a driver is made.
type Option func(*Driver)

// WithExit sets what is called when another process has taken over and everything here is drained. The
// default ends the process.
func WithExit(exit func()) Option { return func(d *Driver) { d.exit = exit } }

// WithLogger sets the logger; the default is that of sdk/serve.
func WithLogger(logger hclog.Logger) Option { return func(d *Driver) { d.logger = logger } }

// New makes the driver. If the environment names a state directory it begins to serve from there.
func New(options ...Option) *Driver {
	d := &Driver{
		logger: serve.Logger("proxy"), exit: exitProcess, state: state.New(),
		routes: make(map[string]*route.Route), leaving: make(map[string][]*route.Route),
		places: make(map[string]*place), certs: make(map[sdk.TLS]*front.Certificate), healthWatch: make(chan struct{}),
	}
	for _, o := range options {
		o(d)
	}
	d.server = front.NewServer(d.logger)
	// Only as a driver's process: a person who calls the program must not relieve the one in charge.
	launched := os.Getenv(wire.Handshake.MagicCookieKey) == wire.Handshake.MagicCookieValue
	if dir := os.Getenv(EnvStateDir); dir != "" && launched {
		d.starting.Lock()
		go func() {
			defer d.starting.Unlock()
			if err := d.start(dir); err != nil {
				d.logger.Error("cannot serve yet", "dir", dir, "error", err) // Configure will tell the daemon
			}
		}()
	}
	return d
}

// exitProcess ends the process the way the daemon would, so that sdk/serve cleans up.
func exitProcess() { _ = syscall.Kill(os.Getpid(), syscall.SIGTERM) }

// Describe implements sdk.Driver.
func (d *Driver) Describe(context.Context) (sdk.Description, error) { return d.describe(), nil }

// Configure implements sdk.Driver. The first call starts from what StateDir remembers.
func (d *Driver) Configure(_ context.Context, req sdk.ConfigureRequest) error {
	settings, err := decodeTarget(req.Config)
	if err != nil {
		return err
	}
	if req.StateDir == "" {
		return sdk.InvalidConfig("state_dir", "the proxy needs a directory for its state")
	}
	d.starting.Lock()
	defer d.starting.Unlock()
	if err := d.start(req.StateDir); err != nil {
		return sdk.Unavailable(time.Second, "cannot take charge of %s: %w", req.StateDir, err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.usable(); err != nil {
		return err
	}
	if d.dir != req.StateDir {
		return sdk.Conflict("this process serves %s and cannot be configured for %s", d.dir, req.StateDir)
	}
	old := d.state.Configure
	if old != nil && req.Cluster == old.Cluster && req.Generation < old.Generation {
		return sdk.Conflict("cluster generation %d is older than %d, for which this target was configured", req.Generation, old.Generation)
	}
	req.StateDir = ""
	if old == nil || !sameConfiguration(*old, req) {
		next := d.state
		next.Configure = &req
		if err := d.save(next); err != nil {
			return err
		}
	}
	d.server.Set(settings)
	return nil
}

func sameConfiguration(a, b sdk.ConfigureRequest) bool {
	same := bytes.Equal(a.Config, b.Config)
	a.Config, b.Config = nil, nil
	return same && a.Target == b.Target && a.Node == b.Node && a.Cluster == b.Cluster && a.Generation == b.Generation
}

// usable says why nothing can be changed here now, or nil.
func (d *Driver) usable() error {
	switch {
	case d.superseded:
		return sdk.Unavailable(0, "another process of this driver has taken over")
	case d.closed:
		return sdk.Unavailable(0, "this process is ending")
	case d.dir == "":
		return sdk.Unavailable(0, "the driver is not configured")
	}
	return nil
}

// save makes next the state, on disk and here.
func (d *Driver) save(next state.State) error {
	if err := state.Save(d.dir, next); err != nil {
		return sdk.Unavailable(time.Second, "the state cannot be saved in %s, so nothing was changed: %w", d.dir, err)
	}
	d.state = next
	return nil
}

// List implements sdk.Traffic.
func (d *Driver) List(context.Context) ([]string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Sorted(maps.Keys(d.state.Routes)), nil
}
