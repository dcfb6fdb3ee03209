package agent

import (
	"context"
	"time"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/state"
	"github.com/instarhq/instar/sdk"
)

// tenurePoll is how often it is looked at whether a lease is held, beside at every answer of the leader.
const tenurePoll = 200 * time.Millisecond

// Leases says under which leases of shared targets this node may act; heartbeat.Client implements it.
type Leases interface {
	// Until is up to when this node may act under an epoch of a lease, on the monotonic clock.
	Until(lease string, epoch uint64) time.Time
	// Answered is closed when the leader has answered once more.
	Answered() <-chan struct{}
}

// shared reports whether the whole cluster shares a target. What is placed on such a target is placed after
// its lease was written, so nobody takes it for its own who sees what is placed there.
func (a *Agent) shared(kind core.DriverKind, key targetKey) bool {
	if _, ok := state.Leases.Get(a.cfg.State.View(), core.LeaseID(kind, key.driver, key.name)); ok {
		return true
	}
	for _, t := range a.cfg.Host.Targets() {
		if t.Kind == kind && t.Driver == key.driver && t.Name == key.name {
			return t.Scope == core.ScopeCluster
		}
	}
	return false
}

// until is up to when this node may act on a shared target: the store and the leader's newest answer both
// have to say that it holds the lease.
func (a *Agent) until(kind core.DriverKind, key targetKey) time.Time {
	id := core.LeaseID(kind, key.driver, key.name)
	lease, ok := state.Leases.Get(a.cfg.State.View(), id)
	switch {
	case !ok || lease.Node != a.cfg.Node:
		return time.Time{}
	case a.cfg.Leases == nil:
		return time.Now().Add(time.Hour) // there is nobody else
	}
	return a.cfg.Leases.Until(id, lease.Epoch)
}

// tenures calls during whenever this node holds the lease of a shared target, until ctx ends. During's
// context ends when the lease does; it must return then.
func (a *Agent) tenures(ctx context.Context, kind core.DriverKind, key targetKey, during func(ctx context.Context)) {
	for ctx.Err() == nil {
		if until := a.until(kind, key); !time.Now().Before(until) {
			a.awaitNews(ctx, tenurePoll)
			continue
		}
		a.log.Info("this node acts for a shared target", "kind", kind, "driver", key.driver, "target", key.name)
		tenure, end := context.WithCancel(ctx)
		done := make(chan struct{})
		go func() { defer close(done); during(tenure) }()
		for tenure.Err() == nil {
			until := a.until(kind, key)
			if !time.Now().Before(until) {
				break
			}
			a.awaitNews(ctx, min(tenurePoll, time.Until(until)))
		}
		end()
		<-done
		if ctx.Err() == nil {
			a.log.Info("this node acts no more for a shared target", "kind", kind, "driver", key.driver, "target", key.name)
		}
	}
}

// awaitNews waits for an answer of the leader, at most d.
func (a *Agent) awaitNews(ctx context.Context, d time.Duration) {
	var answered <-chan struct{}
	if a.cfg.Leases != nil {
		answered = a.cfg.Leases.Answered()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-answered:
	case <-timer.C:
	}
}

// actFor looks after a shared compute target for as long as this node has its lease.
func (c *compute) actFor(tenure context.Context) {
	c.setTenure(tenure)
	a := c.agent
	done := make(chan struct{}, 2)
	go func() { defer func() { done <- struct{}{} }(); c.watch(tenure) }()
	go func() { defer func() { done <- struct{}{} }(); c.compare(tenure) }()
	view := a.cfg.State.View()
	for id, inst := range state.Instances.By(view, state.ByNode, a.cfg.Node) {
		if (targetKey{inst.Driver, inst.Target}) == c.key {
			a.syncInstance(tenure, view, id, inst)
		}
	}
	<-tenure.Done()
	c.endTenure()
	a.dropLivesOf(c)
	<-done
	<-done
}

// setTenure notes in which context the target is acted on; nil: it is not.
func (c *compute) setTenure(ctx context.Context) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tenure = ctx
}

// endTenure notes that the target is not acted on.
func (c *compute) endTenure() {
	c.mu.Lock()
	defer c.mu.Unlock()
	var none context.Context
	c.tenure = none
}

// acting is the context in which the target is acted on, nil if it is not.
func (c *compute) acting() context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.tenure
}

// dropLivesOf stops looking after the instances of a target.
func (a *Agent) dropLivesOf(c *compute) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for id, l := range a.lives {
		if l.compute == c {
			delete(a.lives, id)
			l.drop()
		}
	}
}

// carryFor carries the routes of a shared traffic target for as long as this node has its lease.
func (a *Agent) carryFor(ctx, tenure context.Context, key targetKey) {
	a.setCarrying(key, true)
	a.syncRoutes(ctx)
	a.removeStrays(tenure, key)
	<-tenure.Done()
	a.setCarrying(key, false)
	if ctx.Err() == nil {
		a.syncRoutes(ctx) // which lets go of them, and leaves the data plane as it is
	}
}

func (a *Agent) setCarrying(key targetKey, is bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if is {
		a.carrying[key] = true
	} else {
		delete(a.carrying, key)
	}
}

// mayCarry reports whether this node acts on a traffic target now: it is its own, or it has the lease.
func (a *Agent) mayCarry(key targetKey) bool {
	if !a.shared(core.DriverTraffic, key) {
		return true
	}
	a.mu.Lock()
	carrying := a.carrying[key]
	a.mu.Unlock()
	return carrying && time.Now().Before(a.until(core.DriverTraffic, key))
}

// errNotHolder is why a driver of a shared target is not asked.
var errNotHolder = sdk.Unavailable(0, "another node acts for the target now, or none does")

func (a *Agent) syncRoutes(ctx context.Context) {
	view := a.cfg.State.View()
	for name := range state.Routes.All(view) {
		a.syncRoute(ctx, view, name)
	}
}
