package agent

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/agent/report"
	"github.com/instarhq/instar/core/recovery"
	"github.com/instarhq/instar/core/state"
	"github.com/instarhq/instar/sdk"
)

// resyncEvery is how often everything is compared afresh. Changes are acted on as they come; this only
// heals what a bug or a lost event would leave behind.
const resyncEvery = 5 * time.Minute

// Host gives access to the configured targets of this node; core/driverhost implements it.
type Host interface {
	// Compute and Traffic give the driver of a target; the error says why there is none right now.
	Compute(driver, target string) (sdk.Compute, error)
	Traffic(driver, target string) (sdk.Traffic, error)
	// Targets are all configured targets with their health, sorted by kind, driver, name.
	Targets() []core.Target
	// Drivers describes the drivers behind the targets.
	Drivers() []core.Driver
	// Changed is readable after Targets or Drivers give something new. It has one reader.
	Changed() <-chan struct{}
}

// Config is what an Agent needs to know.
type Config struct {
	Node       string            // this node's name
	Labels     map[string]string // published for placement
	Version    string            // of instard
	Level      int               // of stored formats that this instard reads; 0: core.Level
	Key        string            // the node's public key for checkpoints and snapshots
	Cluster    string            // the cluster's id, a label of everything that drivers make
	Generation uint64            // the cluster's generation
	API        string            // where this node serves the API to others; empty: nowhere
	State      *state.State
	Host       Host
	// Leases says on which targets of cluster scope this node may act. nil: on all whose lease names it.
	Leases Leases
	// Current returns nil once everything that had been committed when it was called is in State's
	// view. Nothing is removed for being unknown to the store without it. nil: the view is current.
	Current func(ctx context.Context) error
	Logger  hclog.Logger
}

// Agent acts for one node. Make one with New and run it with Run.
type Agent struct {
	cfg      Config
	log      hclog.Logger
	reporter *report.Reporter
	started  time.Time

	group sync.WaitGroup // everything that Run started

	smokeSync sync.Mutex // one look at smoke checks at a time

	freshSync sync.Mutex
	freshAt   time.Time // up to when the view is known to have been current; under freshSync

	mu        sync.Mutex
	lives     map[string]*life        // by instance id
	computes  map[targetKey]*compute  // by driver and target
	carriers  map[carrierKey]*carrier // by target and route
	traffics  map[targetKey]struct{}  // targets whose stray routes are looked for
	carrying  map[targetKey]bool      // shared traffic targets that this node acts for now
	begun     bool                    // every instance of the view has its life
	byService map[string]map[*carrier]struct{}
	smokes    map[string]smokeRun // running smoke checks, by CheckID
	settled   chan struct{}       // signals that artifacts may have become useless
	ending    []string            // findings whose instances are being destroyed
}

// targetKey names a target of this node.
type targetKey struct{ driver, name string }

// New makes the agent of a node.
func New(cfg Config) *Agent {
	if cfg.Current == nil {
		cfg.Current = func(context.Context) error { return nil }
	}
	if cfg.Logger == nil {
		cfg.Logger = hclog.NewNullLogger()
	}
	if cfg.Level == 0 {
		cfg.Level = core.Level
	}
	return &Agent{
		cfg: cfg, log: cfg.Logger,
		reporter:  report.New(cfg.State, cfg.Node, cfg.Logger),
		lives:     map[string]*life{},
		computes:  map[targetKey]*compute{},
		carriers:  map[carrierKey]*carrier{},
		traffics:  map[targetKey]struct{}{},
		carrying:  map[targetKey]bool{},
		byService: map[string]map[*carrier]struct{}{},
		smokes:    map[string]smokeRun{},
		settled:   make(chan struct{}, 1),
	}
}

// ErrRestored ends Run when the store has been restored from a snapshot under it: what this agent knows is
// of another generation. Make a new one.
var ErrRestored = errors.New("agent: the store has been restored from a snapshot")

// Run acts until ctx ends, and returns when nothing that it started is left. Drivers, instances and
// routes stay as they are. Call it once.
func (a *Agent) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	a.started = time.Now().UTC()
	watch := a.cfg.State.Watch()
	defer watch.Stop()
	if err := a.cfg.State.Ready(ctx); err != nil {
		return err
	}
	defer a.group.Wait()
	defer cancel() // before the wait
	a.group.Go(func() { a.reporter.Run(ctx) })
	a.group.Go(func() { a.runPrune(ctx) })

	resync := time.NewTicker(resyncEvery)
	defer resync.Stop()
	if err := a.look(ctx, watch); err != nil {
		return err
	}
	a.syncTargets(ctx)
	a.syncAll(ctx)
	a.startComparing()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-watch.Changed():
			if recovery.Looking(a.cfg.State.View()) {
				return ErrRestored
			}
			a.syncChanges(ctx, watch.Take())
		case <-a.cfg.Host.Changed():
			a.syncTargets(ctx)
			a.verifyRoutes()
		case <-resync.C:
			if recovery.Looking(a.cfg.State.View()) {
				return ErrRestored
			}
			a.syncAll(ctx)
			a.verifyRoutes()
		}
	}
}

// syncTargets publishes this node and sees to it that every target is looked after.
func (a *Agent) syncTargets(ctx context.Context) {
	targets := a.cfg.Host.Targets()
	a.publishDrivers()
	a.publishNode(targets)
	for _, t := range targets {
		switch t.Kind {
		case core.DriverCompute:
			a.computeOf(ctx, targetKey{t.Driver, t.Name})
		case core.DriverTraffic:
			a.syncTrafficTarget(ctx, targetKey{t.Driver, t.Name})
		}
	}
}

// syncAll compares everything of this node with the store.
func (a *Agent) syncAll(ctx context.Context) {
	view := a.cfg.State.View()
	for id, inst := range state.Instances.By(view, state.ByNode, a.cfg.Node) {
		a.syncInstance(ctx, view, id, inst)
	}
	for _, id := range a.unwantedLives(view) {
		a.dropLife(id)
	}
	for name := range state.Routes.All(view) {
		a.syncRoute(ctx, view, name)
	}
	for name := range state.Services.All(view) {
		a.syncSmoke(ctx, name)
	}
	a.forgetStale(view)
	a.endUnknown(ctx)
}

// syncChanges acts on changed objects; its cost depends on their number alone.
func (a *Agent) syncChanges(ctx context.Context, changes []state.Change) {
	view := a.cfg.State.View()
	services := map[string]struct{}{}
	for _, c := range changes {
		switch c.Kind {
		case core.KindInstance:
			a.instanceChanged(ctx, view, c)
		case core.KindRoute:
			a.syncRoute(ctx, view, c.ID) // and its smoke checks once it is in effect
		case core.KindRollout:
			services[c.Service] = struct{}{}
		case core.KindRecovery:
			a.endUnknown(ctx)
		}
	}
	for name := range services {
		a.syncSmoke(ctx, name)
		a.wakeCarriers(name) // an error rate may have to be watched
	}
}

// instanceChanged acts on an instance of any node: those of this one are looked after here, and the
// routes of this node may have to say that one is quiet.
func (a *Agent) instanceChanged(ctx context.Context, view *state.View, c state.Change) {
	inst, ok := state.Instances.Get(view, c.ID)
	if !ok {
		a.dropLife(c.ID)
		return
	}
	if inst.Node == a.cfg.Node {
		a.syncInstance(ctx, view, c.ID, inst)
	} else {
		a.dropLife(c.ID) // another node acts for it by now, if this one did
	}
	if inst.Desired != core.DesiredRun {
		a.wakeCarriers(inst.Service)
	}
}
