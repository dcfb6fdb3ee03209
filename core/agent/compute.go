package agent

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/instarhq/instar/core/recovery"
	"github.com/instarhq/instar/core/state"
	"github.com/instarhq/instar/sdk"
)

const (
	// maxCreates and maxDestroys bound the calls under way at one target. A Destroy mostly waits for
	// the grace period of what it ends.
	maxCreates  = 16
	maxDestroys = 128

	// compareEvery is how often the instances of a target are compared with those in the store, and
	// doubtAfter how soon again if something looked wrong.
	compareEvery = 5 * time.Minute
	doubtAfter   = 5 * time.Second
	// callTimeout bounds a call that only asks.
	callTimeout = 30 * time.Second
	// orphanGrace is what an orphan gets: its revision, which would say, is not known.
	orphanGrace = 10 * time.Second
)

// compute keeps one compute target: it passes the driver's events to the lives of its instances and
// finds what has been lost or left behind.
type compute struct {
	agent    *Agent
	key      targetKey
	log      hclog.Logger
	creates  chan struct{} // slots
	destroys chan struct{}
	fetches  fetches
	doubt    chan struct{} // asks for a comparison now
	shared   bool          // of cluster scope
	end      context.CancelFunc
	compared atomic.Int64 // when the first comparison that saw every instance was done, as Unix nanoseconds

	mu     sync.Mutex
	tenure context.Context // in which this node acts on the target; nil: it does not now
}

func newCompute(a *Agent, key targetKey) *compute {
	return &compute{
		agent: a, key: key, log: a.log.With("driver", key.driver, "target", key.name),
		creates: make(chan struct{}, maxCreates), destroys: make(chan struct{}, maxDestroys),
		doubt: make(chan struct{}, 1),
	}
}

// watch follows the driver's events until ctx ends, through every restart of the driver.
func (c *compute) watch(ctx context.Context) {
	wait := backoff{first: 100 * time.Millisecond, last: 5 * time.Second}
	for {
		driver, err := c.driver()
		if err == nil {
			began := time.Now()
			c.compareSoon() // events while nobody listened may have been missed
			err = driver.Watch(ctx, c.event)
			if time.Since(began) > time.Minute {
				wait.reset()
			}
		}
		if ctx.Err() != nil {
			return
		}
		c.log.Debug("no events from the driver", "error", err)
		if !wait.wait(ctx, err) {
			return
		}
	}
}

func (c *compute) event(seen sdk.Instance) error {
	if seen.Cluster != c.agent.cfg.Cluster {
		return nil
	}
	if l := c.agent.lifeOf(seen.ID); l != nil && l.compute == c {
		l.see(seen)
	}
	return nil
}

func (c *compute) compareSoon() {
	select {
	case c.doubt <- struct{}{}:
	default:
	}
}

// compare compares what the driver has with what the store wants, at every new connection to the
// driver and from time to time. An instance must be unknown to the store in two comparisons in a row
// before it is taken for an orphan.
func (c *compute) compare(ctx context.Context) {
	var suspects map[string]bool
	var next time.Duration
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.doubt:
		case <-time.After(next):
		}
		found, err := c.compareOnce(ctx)
		for _, orphan := range found {
			if suspects[orphan.ID] {
				c.agent.group.Go(func() { c.destroyOrphan(ctx, orphan) })
			}
		}
		next = compareEvery
		switch {
		case err != nil:
			c.log.Debug("cannot compare the instances with the store", "error", err)
			next = doubtAfter
		case len(found) > 0:
			next = doubtAfter
		}
		suspects = idsOf(found)
		if !sleep(ctx, doubtAfter/5) { // doubts in a row cost one comparison a second
			return
		}
	}
}

// compareOnce tells every life of the target what the driver has of it, and returns the instances that
// the store does not know.
func (c *compute) compareOnce(ctx context.Context) ([]sdk.Instance, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	driver, err := c.driver()
	if err != nil {
		return nil, err
	}
	began := c.agent.beganComparing()
	lives := slices.DeleteFunc(c.agent.livesOf(c), func(l *life) bool { return !l.serving() })
	listed, err := driver.List(ctx, c.agent.cfg.Cluster)
	if err != nil {
		return nil, err
	}
	there := make(map[string]sdk.Instance, len(listed))
	for _, inst := range listed {
		there[inst.ID] = inst
	}
	for _, l := range lives {
		if inst, ok := there[l.id]; ok {
			l.see(inst)
		} else {
			l.miss()
		}
	}
	if began {
		c.compared.CompareAndSwap(0, time.Now().UnixNano())
	}
	if err := c.agent.cfg.Current(ctx); err != nil {
		return nil, err
	}
	return c.orphans(c.agent.cfg.State.View(), listed), nil
}

// orphans are the instances of this cluster and generation that the store does not know. Those of another
// cluster, and of another generation, which a restore has to judge, are never touched.
func (c *compute) orphans(view *state.View, listed []sdk.Instance) []sdk.Instance {
	cfg := &c.agent.cfg
	if recovery.Looking(view) {
		return nil
	}
	return slices.DeleteFunc(listed, func(inst sdk.Instance) bool {
		if inst.Cluster != cfg.Cluster || inst.Generation != cfg.Generation {
			return true
		}
		_, known := state.Instances.Get(view, inst.ID)
		return known
	})
}

func (c *compute) destroyOrphan(ctx context.Context, orphan sdk.Instance) {
	c.log.Warn("destroying an instance that the store does not know", "instance", orphan.ID, "service", orphan.Service)
	driver, err := c.driver()
	if err == nil {
		err = driver.Destroy(ctx, orphan.ID, orphanGrace)
	}
	if err != nil && ctx.Err() == nil {
		c.log.Warn("cannot destroy an orphan, trying again at the next comparison", "instance", orphan.ID, "error", err)
	}
}

func idsOf(instances []sdk.Instance) map[string]bool {
	ids := make(map[string]bool, len(instances))
	for _, inst := range instances {
		ids[inst.ID] = true
	}
	return ids
}
