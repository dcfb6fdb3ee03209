package control

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/state"
)

const (
	// resyncEvery is how often every service is looked at without a cause. Changes are acted on as they
	// come; this only heals what a bug would leave behind.
	resyncEvery = 30 * time.Second
	// workers is how many services are planned at a time: a worker mostly waits for its commit, and
	// commits that are waited for together are made together.
	workers = 8
)

// Config is what a Controller needs. State is required.
type Config struct {
	State *state.State
	// Liveness tells who is heard. nil: nobody watches; every node counts as ready, and leases stay as they are.
	Liveness Liveness
	// Current returns nil once everything that had been committed when it was called is in State's view.
	// nil: the view is current when Run begins.
	Current func(ctx context.Context) error
	Now     func() time.Time            // nil: time.Now
	NewID   func(service string) string // a new instance's id, never given before; nil: a random one
	Logger  hclog.Logger                // nil: none
}

// Controller runs every service's planner while its node is the leader. Make one with New for each
// term, and run it with Run.
type Controller struct {
	state    *state.State
	liveness Liveness
	current  func(context.Context) error
	now      func() time.Time
	newID    func(string) string
	log      hclog.Logger
	queue    *queue
	places   *places
	views    *views
	budget   int         // bytes of one transaction
	strayed  atomic.Bool // an instance names another node than the one that has its target's lease
}

// New makes a controller.
func New(config Config) *Controller {
	c := &Controller{
		state: config.State, liveness: config.Liveness, current: config.Current, now: config.Now, newID: config.NewID,
		log: config.Logger, places: newPlaces(), budget: maxBytes,
	}
	if c.current == nil {
		c.current = func(context.Context) error { return nil }
	}
	if c.now == nil {
		c.now = time.Now
	}
	if c.newID == nil {
		c.newID = randomID
	}
	if c.log == nil {
		c.log = hclog.NewNullLogger()
	}
	c.log = c.log.Named("control")
	c.queue = newQueue()
	return c
}

// Run acts until ctx ends, and returns its error when nothing that it started is left. It ends with
// leadership: two that run at a time do no harm, because every write names what it was decided on, but
// get in each other's way. Call it once.
func (c *Controller) Run(ctx context.Context) error {
	watch := c.state.Watch()
	defer watch.Stop()
	if err := c.state.Ready(ctx); err != nil {
		return err
	}
	if err := c.current(ctx); err != nil {
		return err
	}
	seen := c.state.Watch()
	defer seen.Stop()
	c.views = newViews(seen)
	c.places.load(c.state.View())

	var group sync.WaitGroup
	for range workers {
		group.Go(func() { c.work(ctx) })
	}
	if c.liveness != nil {
		group.Go(func() { c.liveness.Lead(ctx) })
		group.Go(func() { c.watchNodes(ctx) })
	}
	defer group.Wait()
	defer c.queue.close()

	resync := time.NewTicker(resyncEvery)
	defer resync.Stop()
	c.markAll(0)
	c.sweep(ctx)
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-watch.Changed():
			c.changed(watch.Take())
		case <-resync.C:
			c.places.load(c.state.View())
			c.views.refresh()
			c.markAll(0)
			c.sweep(ctx)
		}
	}
}

// changed marks the services that changes concern. A node's targets may concern any.
func (c *Controller) changed(changes []state.Change) {
	view := c.state.View()
	for _, change := range changes {
		switch change.Kind {
		case core.KindInstance:
			c.places.update(view, change.ID)
			c.noteStray(view, change.ID)
		case core.KindNode, core.KindNodeStatus, core.KindMember, core.KindLease, core.KindRecovery:
			c.markAll(change.Seq)
		}
		if change.Service != "" {
			c.queue.mark(change.Service, change.Seq)
		}
	}
}

func (c *Controller) markAll(cause uint64) {
	for name := range state.Services.All(c.state.View()) {
		c.queue.mark(name, cause)
	}
}

// work steps one service after the other.
func (c *Controller) work(ctx context.Context) {
	for {
		name, cause, ok := c.queue.take(ctx)
		if !ok {
			return
		}
		s, err := c.safely(ctx, name, cause)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			delay := c.queue.failed(name)
			c.log.Warn("service cannot be planned, trying again", "service", name, "in", delay, "error", err)
		default:
			c.queue.done(name, &s)
			if !s.wake.IsZero() {
				c.queue.wake(name, s.wake.Sub(c.now()))
			}
		}
	}
}
