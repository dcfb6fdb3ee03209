package agent

import (
	"context"
	"slices"
	"time"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/recovery"
	"github.com/instarhq/instar/core/state"
	"github.com/instarhq/instar/sdk"
)

// carrierKey names a route at a target of this node.
type carrierKey struct {
	target targetKey
	route  string
}

// trafficTargets are this node's traffic targets that carry a route.
func (a *Agent) trafficTargets(spec *core.RouteSpec) []targetKey {
	var keys []targetKey
	for _, t := range a.cfg.Host.Targets() {
		if t.Kind == core.DriverTraffic && t.Driver == spec.Driver && (spec.Target == "" || spec.Target == t.Name) &&
			a.mayCarry(targetKey{t.Driver, t.Name}) {
			keys = append(keys, targetKey{t.Driver, t.Name})
		}
	}
	return keys
}

// hasTraffic reports whether this node has a traffic target.
func (a *Agent) hasTraffic(key targetKey) bool {
	return slices.ContainsFunc(a.cfg.Host.Targets(), func(t core.Target) bool {
		return t.Kind == core.DriverTraffic && t.Driver == key.driver && t.Name == key.name
	})
}

// syncRoute sees to it that every target of this node that should carry the route does, and that the
// others let go of it.
func (a *Agent) syncRoute(ctx context.Context, view *state.View, name string) {
	wanted := map[targetKey]bool{}
	if route, ok := state.Routes.Get(view, name); ok {
		for _, target := range a.trafficTargets(&route.Spec) {
			wanted[target] = true
			a.carry(ctx, carrierKey{target, name}, route.Service)
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for target := range a.traffics {
		if c, ok := a.carriers[carrierKey{target, name}]; ok && !wanted[target] {
			c.letGo()
		}
	}
}

// carry starts the carrier of a route at a target, or wakes it.
func (a *Agent) carry(ctx context.Context, key carrierKey, service string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if c, ok := a.carriers[key]; ok {
		if c.service != service { // the name went to another service; the next carrier is started when this one ends
			c.letGo()
		}
		c.wakeUp()
		return
	}
	c := newCarrier(ctx, a, key, service)
	a.carriers[key] = c
	if a.byService[service] == nil {
		a.byService[service] = map[*carrier]struct{}{}
	}
	a.byService[service][c] = struct{}{}
	a.group.Go(func() {
		c.run()
		a.carrierEnded(c)
		if ctx.Err() == nil { // the route may be wanted again meanwhile
			a.syncRoute(ctx, a.cfg.State.View(), key.route)
		}
	})
}

func (a *Agent) carrierEnded(c *carrier) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.carriers, c.key)
	delete(a.byService[c.service], c)
	if len(a.byService[c.service]) == 0 {
		delete(a.byService, c.service)
	}
}

// wakeCarriers makes the routes of a service look again at their instances and rollouts.
func (a *Agent) wakeCarriers(service string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for c := range a.byService[service] {
		c.wakeUp()
	}
}

// verifyRoutes makes every route read its data plane back: a driver may have come back without it.
func (a *Agent) verifyRoutes() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, c := range a.carriers {
		c.verifySoon()
	}
}

// syncTrafficTarget sees to it that a target carries its routes and no others.
func (a *Agent) syncTrafficTarget(ctx context.Context, key targetKey) {
	a.mu.Lock()
	_, known := a.traffics[key]
	a.traffics[key] = struct{}{}
	a.mu.Unlock()
	if known {
		return
	}
	if a.shared(core.DriverTraffic, key) {
		a.group.Go(func() {
			a.tenures(ctx, core.DriverTraffic, key, func(tenure context.Context) { a.carryFor(ctx, tenure, key) })
		})
		return
	}
	a.group.Go(func() { a.removeStrays(ctx, key) })
}

// removeStrays removes, once after the start, the routes that a target has and the store does not: they
// were deleted while this node was away. Everything later is removed as it is deleted.
func (a *Agent) removeStrays(ctx context.Context, key targetKey) {
	retry := backoff{first: time.Second, last: time.Minute}
	for {
		err := a.removeStraysOnce(ctx, key)
		if err == nil || ctx.Err() != nil {
			return
		}
		a.log.Debug("cannot compare the routes with the store", "driver", key.driver, "target", key.name, "error", err)
		if !retry.wait(ctx, err) {
			return
		}
	}
}

func (a *Agent) removeStraysOnce(ctx context.Context, key targetKey) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	driver, err := a.cfg.Host.Traffic(key.driver, key.name)
	if err != nil {
		return err
	}
	ids, err := driver.List(ctx)
	if err != nil {
		return err
	}
	if err := a.cfg.Current(ctx); err != nil {
		return err
	}
	view := a.cfg.State.View()
	if recovery.Looking(view) {
		return nil
	}
	for _, id := range ids {
		if _, ok := state.Routes.Get(view, id); ok {
			continue
		}
		seen, err := driver.Observe(ctx, id)
		if sdk.CodeOf(err) == sdk.CodeNotFound {
			continue
		}
		if err != nil {
			return err
		}
		if stale(view, seen.Generation) {
			a.log.Info("leaving a route that the restored state does not know", "route", id, "driver", key.driver, "target", key.name)
			continue
		}
		a.log.Warn("removing a route that the store does not know", "route", id, "driver", key.driver, "target", key.name)
		if err := driver.Remove(ctx, id, seen.Generation, defaultDrain); err != nil {
			return err
		}
	}
	return nil
}
