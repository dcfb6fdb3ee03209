package agent

import (
	"context"
	"fmt"
	"maps"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/driverhost"
	"github.com/instarhq/instar/sdk"
)

// effect brings the data plane to the route and reads it back. The observation is nil when the route
// is removed and nothing of it is left.
func (c *carrier) effect(route *core.Route) (*sdk.Observation, error) {
	if c.verify.Swap(false) && c.applied != route.Generation {
		// After a restart the data plane usually has what is wanted; then nothing is applied.
		seen, err := c.observe()
		if err == nil && differs(route, seen) == nil {
			c.applied = route.Generation
			return seen, nil
		}
	} else if c.applied == route.Generation {
		seen, err := c.observe()
		if err != nil || differs(route, seen) == nil {
			return seen, err
		}
		c.log.Warn("the data plane has lost the route, applying it again")
	}
	err := c.withDriver(c.ctx, func(ctx context.Context, driver sdk.Traffic) error {
		if route.Removed {
			return driver.Remove(ctx, route.Name, route.Generation, route.Spec.Drain.Std())
		}
		return driver.Apply(ctx, driverhost.Route(*route))
	})
	if err != nil {
		return nil, err
	}
	seen, err := c.observe()
	if err != nil {
		return nil, err
	}
	if err := differs(route, seen); err != nil {
		return nil, err
	}
	c.applied = route.Generation
	return seen, nil
}

// observe reads the route back; nil if the data plane has none.
func (c *carrier) observe() (*sdk.Observation, error) {
	var seen sdk.Observation
	err := c.withDriver(c.ctx, func(ctx context.Context, driver sdk.Traffic) (err error) {
		seen, err = driver.Observe(ctx, c.key.route)
		return err
	})
	if sdk.CodeOf(err) == sdk.CodeNotFound {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &seen, nil
}

// differs says how a data plane's route is not the wanted one.
func differs(route *core.Route, seen *sdk.Observation) error {
	if route.Removed {
		if seen != nil && (seen.Listening || len(seen.Pools) > 0) {
			return fmt.Errorf("the data plane still serves the removed route")
		}
		return nil
	}
	switch {
	case seen == nil:
		return fmt.Errorf("the data plane does not have the route")
	case seen.Generation > route.Generation:
		return sdk.Conflict("the data plane has generation %d, which is newer than %d", seen.Generation, route.Generation)
	case seen.Generation < route.Generation:
		return fmt.Errorf("the data plane still has generation %d of the route", seen.Generation)
	case !seen.Listening:
		return fmt.Errorf("the data plane does not listen on %s", route.Spec.Listen)
	}
	return poolsDiffer(route.Pools, seen.Pools)
}

// poolsDiffer compares endpoints and which pools get requests. Weights are compared as nothing or
// something: a data plane may count in other units.
func poolsDiffer(want []core.Pool, have []sdk.PoolObservation) error {
	byRevision := make(map[int]*sdk.PoolObservation, len(have))
	for i := range have {
		byRevision[have[i].Revision] = &have[i]
	}
	for i := range want {
		w := &want[i]
		h, ok := byRevision[w.Revision]
		if !ok {
			if len(w.Endpoints) == 0 {
				continue
			}
			return fmt.Errorf("the data plane has no pool of revision %d", w.Revision)
		}
		delete(byRevision, w.Revision)
		if (w.Weight > 0) != (h.Weight > 0) || w.Preview != h.Preview {
			return fmt.Errorf("the data plane has revision %d with weight %d, preview %t; wanted are weight %d, preview %t",
				w.Revision, h.Weight, h.Preview, w.Weight, w.Preview)
		}
		if !maps.Equal(wantedEndpoints(w), observedEndpoints(h)) {
			return fmt.Errorf("the data plane has other endpoints of revision %d than wanted", w.Revision)
		}
	}
	for revision, h := range byRevision {
		if len(h.Endpoints) > 0 {
			return fmt.Errorf("the data plane has a pool of revision %d that is not wanted", revision)
		}
	}
	return nil
}

func wantedEndpoints(p *core.Pool) map[string]string {
	out := make(map[string]string, len(p.Endpoints))
	for _, e := range p.Endpoints {
		out[e.Instance] = e.Address
	}
	return out
}

func observedEndpoints(p *sdk.PoolObservation) map[string]string {
	out := make(map[string]string, len(p.Endpoints))
	for _, e := range p.Endpoints {
		if e.State != sdk.EndpointDraining {
			out[e.ID] = e.Address
		}
	}
	return out
}
