package driverhost

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/hashicorp/go-hclog"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/driverhost/lockfile"
	"github.com/instarhq/instar/sdk"
)

// Config says where a Host looks for drivers and what it tells them.
type Config struct {
	PluginDirs []string // searched in order; the first binary of a name wins
	StateDir   string   // private; made with mode 0700
	LockFile   string   // SHA-256 of every accepted binary
	AutoLock   bool     // lock a binary at first sight instead of refusing it (-dev)
	Cluster    string   // the cluster's id
	Node       string
	Generation uint64   // of the cluster
	Observer   Observer // nil: nobody counts calls
	Logger     hclog.Logger

	timing timing // tests; zero: defaultTiming
}

// TargetConfig is one configured target.
type TargetConfig struct {
	Kind   core.DriverKind
	Driver string
	Name   string
	Config json.RawMessage // of the driver's target schema
}

// Host holds the targets of a node. Make one with New; it has no working zero value.
type Host struct {
	cfg     Config
	log     hclog.Logger
	timing  timing
	lock    *lockfile.File
	images  *images
	sockets string   // directory for sockets, short enough
	guard   *os.File // held while this Host lives: two would fight over the processes

	ctx    context.Context // ends at Close
	cancel context.CancelFunc
	group  sync.WaitGroup

	mu          sync.Mutex
	closed      bool
	targets     map[targetKey]*target
	drivers     []core.Driver // as of the last Discover
	changed     chan struct{}
	subscribers map[chan struct{}]struct{}
}

// New makes a Host. It starts nothing: Open does.
func New(cfg Config) (*Host, error) {
	if cfg.Logger == nil {
		cfg.Logger = hclog.NewNullLogger()
	}
	if cfg.timing == (timing{}) {
		cfg.timing = defaultTiming
	}
	var err error
	if cfg.StateDir, err = filepath.Abs(cfg.StateDir); err != nil {
		return nil, fmt.Errorf("state directory of the drivers: %w", err)
	}
	if err := makePrivate(cfg.StateDir); err != nil {
		return nil, fmt.Errorf("state directory of the drivers: %w", err)
	}
	guard, err := acquireGuard(cfg.StateDir)
	if err != nil {
		return nil, err
	}
	sockets, err := socketDir(cfg.StateDir)
	if err != nil {
		_ = guard.Close() // nothing was written
		return nil, err
	}
	h := &Host{
		cfg: cfg, log: cfg.Logger.Named("drivers"), timing: cfg.timing, lock: lockfile.Open(cfg.LockFile), images: newImages(),
		sockets: sockets, guard: guard,
		targets: map[targetKey]*target{}, changed: make(chan struct{}, 1), subscribers: map[chan struct{}]struct{}{},
	}
	h.ctx, h.cancel = context.WithCancel(context.Background())
	return h, nil
}

// Open adds a target and returns after the first attempt to bring it up, with its error; the target is
// there and supervised in any case. Opening a target that is open gives it the new configuration.
func (h *Host) Open(ctx context.Context, cfg TargetConfig) error {
	if err := checkTarget(cfg); err != nil {
		return err
	}
	t, err := h.target(cfg)
	if err != nil {
		return err
	}
	select {
	case err := <-t.configured(cfg.Config):
		return err
	case <-ctx.Done():
		return fmt.Errorf("%s does not come up: %w", t.key, ctx.Err())
	}
}

func checkTarget(cfg TargetConfig) error {
	if !slices.Contains(kinds, cfg.Kind) {
		return core.Errorf(core.CodeInvalid, "target %q: %q is no kind of driver: it is compute, traffic or metrics", cfg.Name, cfg.Kind)
	}
	if err := core.CheckName("driver", cfg.Driver); err != nil {
		return err
	}
	return core.CheckName("target", cfg.Name)
}

// target finds or adds the target and starts its supervision.
func (h *Host) target(cfg TargetConfig) (*target, error) {
	key := targetKey{cfg.Kind, cfg.Driver, cfg.Name}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, core.Errorf(core.CodeUnavailable, "%s: the daemon is shutting down", key)
	}
	if t, ok := h.targets[key]; ok {
		return t, nil
	}
	t, err := newTarget(h, key)
	if err != nil {
		return nil, err
	}
	h.targets[key] = t
	h.group.Go(func() { t.supervise(h.ctx) })
	return t, nil
}

// Compute returns the client of a compute target; target empty: the driver's first by name.
func (h *Host) Compute(driver, target string) (sdk.Compute, error) {
	t, err := h.find(core.DriverCompute, driver, target)
	if err != nil {
		return nil, err
	}
	return &computeClient{driverClient{t}}, nil
}

// Traffic returns the client of a traffic target; target empty: the driver's first by name.
func (h *Host) Traffic(driver, target string) (sdk.Traffic, error) {
	t, err := h.find(core.DriverTraffic, driver, target)
	if err != nil {
		return nil, err
	}
	return &trafficClient{driverClient{t}}, nil
}

// Metrics returns the client of a metrics target; target empty: the driver's first by name.
func (h *Host) Metrics(driver, target string) (sdk.Metrics, error) {
	t, err := h.find(core.DriverMetrics, driver, target)
	if err != nil {
		return nil, err
	}
	return &metricsClient{driverClient{t}}, nil
}

func (h *Host) find(kind core.DriverKind, driver, name string) (*target, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, t := range h.sorted() {
		if t.key.kind == kind && t.key.driver == driver && (name == "" || t.key.name == name) {
			return t, nil
		}
	}
	err := core.Errorf(core.CodeNotFound, "node %s has no %s", h.cfg.Node, targetKey{kind, driver, name})
	return nil, err.WithHint("configure the target in the node's configuration file")
}

// sorted lists the targets by kind, driver, name. h.mu must be held.
func (h *Host) sorted() []*target {
	list := make([]*target, 0, len(h.targets))
	for _, t := range h.targets {
		list = append(list, t)
	}
	slices.SortFunc(list, func(a, b *target) int { return strings.Compare(a.key.dir(), b.key.dir()) })
	return list
}

// Targets are all targets with their health as of now, sorted by kind, driver, name.
func (h *Host) Targets() []core.Target {
	h.mu.Lock()
	list := h.sorted()
	h.mu.Unlock()
	out := make([]core.Target, len(list))
	for i, t := range list {
		out[i] = t.snapshot()
	}
	return out
}

// Close ends the supervision and leaves the processes running. It waits until nothing is written any more.
func (h *Host) Close() error {
	if !h.shut() {
		return nil
	}
	return h.guard.Close()
}

// EndOthers ends the processes of targets that have not been opened: those that a former configuration had.
// Call it once all targets are open. What such a driver has made stays; nobody looks after it any more.
func (h *Host) EndOthers(ctx context.Context) error {
	h.mu.Lock()
	defer h.mu.Unlock() // no target may be opened meanwhile
	if h.closed {
		return nil
	}
	return h.end(ctx, func(key targetKey) bool { return h.targets[key] == nil })
}

// Teardown ends the supervision and then every process, also those of targets that have not been opened:
// SIGTERM, and SIGKILL when ctx ends first.
func (h *Host) Teardown(ctx context.Context) error {
	if !h.shut() {
		return core.Errorf(core.CodeConflict, "the driver host is closed; its processes run on")
	}
	err := h.end(ctx, func(targetKey) bool { return true })
	return errors.Join(err, h.guard.Close())
}

// end ends the processes of targets that nobody supervises.
func (h *Host) end(ctx context.Context, which func(targetKey) bool) error {
	entries, err := os.ReadDir(filepath.Join(h.cfg.StateDir, "targets"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	errs := make([]error, len(entries))
	var group sync.WaitGroup
	for i, e := range entries {
		key, ok := parseDir(e.Name())
		if !ok || !which(key) {
			continue
		}
		t, err := newTarget(h, key)
		if err != nil {
			errs[i] = err
			continue
		}
		group.Go(func() { errs[i] = t.tearDown(ctx) })
	}
	group.Wait()
	return errors.Join(errors.Join(errs...), h.endLost(ctx, which))
}

// shut ends the supervision; false if that was done before.
func (h *Host) shut() bool {
	h.mu.Lock()
	was := h.closed
	h.closed = true
	h.mu.Unlock()
	if was {
		return false
	}
	h.cancel()
	h.group.Wait()
	return true
}
