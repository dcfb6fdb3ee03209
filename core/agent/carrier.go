package agent

import (
	"context"
	"reflect"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/agent/report"
	"github.com/instarhq/instar/core/recovery"
	"github.com/instarhq/instar/core/state"
	"github.com/instarhq/instar/sdk"
)

const (
	// defaultDrain is what requests in flight get on a route whose spec is no longer known.
	defaultDrain = 30 * time.Second
	// applyTimeout bounds one call that changes a data plane.
	applyTimeout = 30 * time.Second
	// bakePoll is how often a route is observed while an error rate is watched.
	bakePoll = time.Second
	// settleStep is the least time between two looks at one route whose generation has not moved, so
	// that a thousand draining instances do not cost a thousand looks.
	settleStep = 20 * time.Millisecond
)

// carrier keeps one route at one target of this node: it applies what the store wants, reads it back
// from the data plane, and reports what is in effect.
type carrier struct {
	agent   *Agent
	key     carrierKey
	service string
	id      string // of its status
	log     hclog.Logger

	ctx    context.Context // ends with the agent, or when the route is let go of
	letGo  context.CancelFunc
	parent context.Context
	wake   chan struct{}

	verify    atomic.Bool   // read the data plane back before believing that it has the route
	confirmed atomic.Uint64 // the generation in effect

	// Of run's goroutine alone.
	applied  uint64 // the generation that the driver has accepted from us
	status   core.RouteStatus
	reported core.RouteStatus
	trouble  time.Time // when the present failure began
	retry    backoff
	drain    backoff
}

func newCarrier(ctx context.Context, a *Agent, key carrierKey, service string) *carrier {
	c := &carrier{
		agent: a, key: key, service: service, parent: ctx,
		id:    core.RouteStatusID(key.route, a.cfg.Node, key.target.name),
		log:   a.log.With("route", key.route, "driver", key.target.driver, "target", key.target.name),
		wake:  make(chan struct{}, 1),
		retry: backoff{first: 100 * time.Millisecond, last: 5 * time.Second},
		drain: backoff{first: 50 * time.Millisecond, last: time.Second},
	}
	c.ctx, c.letGo = context.WithCancel(ctx)
	c.status, _ = state.RouteStatuses.Get(a.cfg.State.View(), c.id)
	c.status.Format, c.status.Route, c.status.Node = core.Format, key.route, a.cfg.Node
	c.status.Driver, c.status.Target = key.target.driver, key.target.name
	c.reported = c.status
	c.verify.Store(true)
	return c
}

func (c *carrier) wakeUp() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

func (c *carrier) verifySoon() {
	c.verify.Store(true)
	c.wakeUp()
}

// run keeps the route until it is let go of.
func (c *carrier) run() {
	defer c.letGo()
	for {
		again, last := c.step(), time.Now()
		timer := time.NewTimer(again)
		if again == 0 {
			timer.Stop() // only when something changes
		}
		select {
		case <-c.ctx.Done():
			timer.Stop()
			c.abandon()
			return
		case <-c.wake:
			timer.Stop()
			c.pause(last)
		case <-timer.C:
		}
	}
}

// pause keeps looks at an unchanged generation apart; a new one ends it at once.
func (c *carrier) pause(last time.Time) {
	timer := time.NewTimer(settleStep - time.Since(last))
	defer timer.Stop()
	for {
		route, ok := state.Routes.Get(c.agent.cfg.State.View(), c.key.route)
		if !ok || route.Generation != c.applied {
			return
		}
		select {
		case <-timer.C:
			return
		case <-c.wake:
		case <-c.ctx.Done():
			return
		}
	}
}

// abandon takes the route out of a data plane that is not to carry it any more, unless that is on
// record as done.
func (c *carrier) abandon() {
	if c.parent.Err() != nil || c.status.Removed {
		return
	}
	for c.parent.Err() == nil {
		if c.wantedHere() || !c.agent.hasTraffic(c.key.target) || !c.agent.mayCarry(c.key.target) {
			return // the next carrier takes it over, here or at another node, or nobody can
		}
		err := c.withDriver(c.parent, func(ctx context.Context, driver sdk.Traffic) error {
			return driver.Remove(ctx, c.key.route, max(c.applied, c.status.Generation), defaultDrain)
		})
		if err == nil {
			return
		}
		c.log.Warn("cannot remove the route, trying again", "error", err)
		c.retry.wait(c.parent, err)
	}
}

func (c *carrier) wantedHere() bool {
	route, ok := state.Routes.Get(c.agent.cfg.State.View(), c.key.route)
	return ok && carries(c.key.target, &route.Spec) && c.agent.hasTraffic(c.key.target)
}

// step does what there is to do now and says when to look again without being woken; 0: never.
func (c *carrier) step() time.Duration {
	view := c.agent.cfg.State.View()
	route, ok := state.Routes.Get(view, c.key.route)
	if !ok {
		return 0 // letGo is on its way
	}
	if recovery.Looking(view) || stale(view, route.Generation) {
		return 0 // traffic stays where it is until control has written the route anew
	}
	seen, err := c.effect(&route)
	if c.ctx.Err() != nil {
		return 0
	}
	if err != nil {
		c.verify.Store(true)
		return c.fail(err)
	}
	return c.succeed(view, &route, seen)
}

func (c *carrier) withDriver(ctx context.Context, call func(context.Context, sdk.Traffic) error) error {
	if !c.agent.mayCarry(c.key.target) {
		return errNotHolder
	}
	driver, err := c.agent.cfg.Host.Traffic(c.key.target.driver, c.key.target.name)
	if err != nil {
		return sdk.Unavailable(0, "%w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, applyTimeout)
	defer cancel()
	return call(ctx, driver)
}

// fail reports why the wanted generation is not in effect; a driver that is away for a moment only is
// no news.
func (c *carrier) fail(err error) time.Duration {
	now := time.Now()
	if c.trouble.IsZero() {
		c.trouble = now
		c.log.Warn("the route is not in effect", "error", err)
	}
	if sdk.CodeOf(err) != sdk.CodeUnavailable || now.Sub(c.trouble) > slowAfter {
		c.status.Failure = err.Error()
		c.report()
	}
	return c.retry.delay()
}

// succeed reports what is in effect, and says when to look again.
func (c *carrier) succeed(view *state.View, route *core.Route, seen *sdk.Observation) time.Duration {
	c.retry.reset()
	c.trouble = time.Time{}
	c.status.Failure = ""
	if c.status.Generation != route.Generation || c.status.AppliedAt.IsZero() {
		c.status.Generation, c.status.AppliedAt = route.Generation, time.Now().UTC()
		c.drain.reset()
	}
	c.status.Removed = route.Removed
	quiet, busy := quietOf(view, route, seen)
	if c.status.Generation != c.reported.Generation || !containsAll(c.status.Quiet, quiet) {
		c.status.Quiet = quiet
	}
	watched := watchedRates(view, route)
	c.status.ErrorRate = rates(c.status.ErrorRate, watched, route, seen)
	c.report()
	if c.confirmed.Swap(route.Generation) != route.Generation {
		c.agent.syncSmoke(c.parent, c.service)
	}
	switch {
	case busy && len(watched) > 0:
		return min(c.drain.delay(), bakePoll)
	case busy:
		return c.drain.delay()
	case len(watched) > 0:
		return bakePoll
	}
	return 0
}

// report queues the status if it says something new.
func (c *carrier) report() {
	if reflect.DeepEqual(c.status, c.reported) {
		return
	}
	status := c.status
	c.reported = status
	c.agent.reporter.Report(report.Observation{
		Kind: core.KindRouteStatus, ID: c.id, Size: 512 + 64*len(status.Quiet),
		Write: func(tx *state.Tx) {
			if _, ok := state.Routes.Get(tx, status.Route); !ok {
				return
			}
			if last, _ := state.RouteStatuses.Get(tx, c.id); last.Generation > status.Generation {
				return // said before this agent was started on a replica that was behind
			}
			state.RouteStatuses.Put(tx, c.id, status)
		},
	})
}
