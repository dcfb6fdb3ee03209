package sdktest

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/instarhq/instar/sdk"
)

var trafficLimits = []trafficCheck{
	{"apply/schema", "Apply refuses what Describe's workload schema does not allow, and leaves nothing", func(c *trafficRun) {
		r := next(c.route(), pool(1, 1, blue))
		schema := describe(c.Context(), c, c.Driver).Workload
		checkRefusals(c, refusals(c, schema, c.Config), func(config json.RawMessage) error {
			refused := r
			refused.Config = config
			return c.Driver.Apply(c.Context(), refused)
		})
		c.absent(r)
		c.apply(r)
		c.inEffect(r)
	}},
	{"apply/invalid", "Apply refuses a route that cannot be, with InvalidConfig at an attribute, and leaves what was before", func(c *trafficRun) {
		r := next(c.route(), pool(1, 1, blue))
		for what, spoil := range invalidRoutes {
			c.refuses(r, what, spoil)
		}
		c.absent(r)
		c.apply(r)
		for what, spoil := range invalidRoutes {
			c.refuses(next(r, r.Pools...), what, spoil)
		}
		c.inEffect(r)
	}},
	{"secrets/workload", "an error or log line of Apply never repeats a sensitive value", func(c *trafficRun) {
		secret := newID("s3cret")
		r := next(c.route(), pool(1, 1, blue))
		tried := checkSecrets(c, describe(c.Context(), c, c.Driver).Workload, c.Config, secret, func(config json.RawMessage) error {
			refused := r
			refused.Config = config
			return c.Driver.Apply(c.Context(), refused)
		})
		if tried == 0 {
			c.Skipf("not run: no attribute of the workload's schema is sensitive")
		}
		c.wantNotLogged(c, secret)
	}},
	{"limits/ids", "ids of any text are taken as they are, or refused with InvalidConfig and nothing left", func(c *trafficRun) {
		for _, id := range []string{
			".", "../outside", "a/b", `a\b`, "-rf", " ", "a\nb", "żółw", "UP/" + newID(""), "${instance.id}", strings.Repeat("x", 1000),
			newID("conformance-with-a-long-name-" + strings.Repeat("x", 20)),
		} {
			r := next(c.route(), pool(1, 1, blue))
			r.ID, r.Pools[0].Endpoints[0].ID = id, id
			err := within(c, c.patience(), "Apply with id "+clip(id), func(ctx context.Context) error { return c.Driver.Apply(ctx, r) })
			if err != nil {
				wantCode(c, err, sdk.CodeInvalidConfig, "Apply with id %s", clip(id))
				c.absent(r)
				continue
			}
			c.inEffect(r)
			c.remove(r, r.Generation+1)
			c.absent(r)
		}
	}},
	{"limits/empty", "empty arguments are refused or do nothing; they are no internal error", func(c *trafficRun) {
		calls := map[string]func(context.Context) error{
			"Apply":   func(ctx context.Context) error { return c.Driver.Apply(ctx, sdk.Route{}) },
			"Observe": func(ctx context.Context) error { _, err := c.Driver.Observe(ctx, ""); return err },
			"Remove":  func(ctx context.Context) error { return c.Driver.Remove(ctx, "", 0, 0) },
		}
		for what, call := range calls {
			err := within(c, c.patience(), what, calm(call))
			allowed := []sdk.Code{sdk.CodeInvalidConfig, sdk.CodeNotFound}
			if what == "Remove" {
				allowed = append(allowed, "")
			}
			if !slices.Contains(allowed, sdk.CodeOf(err)) {
				c.Errorf("%s with nothing given: %v (code %q), want one of the codes %q", what, err, sdk.CodeOf(err), allowed)
			}
		}
	}},
	{"leaks/process", "what the driver's process holds does not grow with the routes that came and went", func(c *trafficRun) {
		if c.Footprint == nil {
			c.Skipf("not run: the harness gives no Footprint of the driver's process")
		}
		c.comeAndGo(3)
		before := c.Footprint(c)
		c.comeAndGo(8)
		eventually(c, c.patience(), "files, children and threads of the driver's process are as many as before", func() bool {
			return c.Footprint(c) <= before+4 // threads of a runtime come and go
		})
	}},
	{"leaks/state-directory", "a route that came and went leaves at most the memory of its generation", func(c *trafficRun) {
		if c.Configure.StateDir == "" {
			c.Skipf("not run: the fixture has no state directory")
		}
		rounds := c.rounds()
		c.comeAndGo(1)
		before := countFiles(c, c.Configure.StateDir)
		c.comeAndGo(rounds)
		eventually(c, c.patience(), "the state directory has not grown by more than a file for each route", func() bool {
			return countFiles(c, c.Configure.StateDir) <= before+rounds
		})
	}},
}

// invalidRoutes are what no data plane can do.
var invalidRoutes = map[string]func(*sdk.Route){
	"without an id":                 func(r *sdk.Route) { r.ID = "" },
	"of generation 0":               func(r *sdk.Route) { r.Generation = 0 },
	"without a listen address":      func(r *sdk.Route) { r.Listen = "" },
	"with a listen address unheard": func(r *sdk.Route) { r.Listen = "127.0.0.1:99999" },
	"of an unknown protocol":        func(r *sdk.Route) { r.Protocol = "gopher" },
	"with a path that is none":      func(r *sdk.Route) { r.Path = "no-slash" },
	"of revision 0":                 func(r *sdk.Route) { r.Pools = []sdk.Pool{pool(0, 1, blue)} },
	"with a negative weight":        func(r *sdk.Route) { r.Pools = []sdk.Pool{pool(1, -1, blue)} },
	"with a revision twice":         func(r *sdk.Route) { r.Pools = []sdk.Pool{pool(1, 1, blue), pool(1, 1, green)} },
	"with an endpoint twice":        func(r *sdk.Route) { r.Pools = []sdk.Pool{pool(1, 1, blue, blue)} },
	"with an endpoint without id": func(r *sdk.Route) {
		r.Pools = []sdk.Pool{{Revision: 1, Weight: 1, Endpoints: []sdk.Endpoint{{Address: blue}}}}
	},
	"with an address that is none": func(r *sdk.Route) { r.Pools = []sdk.Pool{pool(1, 1, "nowhere")} },
}

func (c *trafficRun) refuses(r sdk.Route, what string, spoil func(*sdk.Route)) {
	c.Helper()
	spoil(&r)
	err := c.Driver.Apply(c.Context(), r)
	var e *sdk.Error
	if !errors.As(err, &e) || e.Code != sdk.CodeInvalidConfig || e.Attribute == "" {
		c.Errorf("Apply of a route %s: %v (code %q), want code %q at an attribute", what, err, sdk.CodeOf(err), sdk.CodeInvalidConfig)
	}
}

// comeAndGo applies and removes routes, one after the other.
func (c *trafficRun) comeAndGo(times int) {
	c.Helper()
	for range times {
		r := next(c.route(), pool(1, 1, blue))
		c.apply(r)
		r = next(r, pool(2, 1, green))
		c.apply(r)
		if err := c.Driver.Remove(c.Context(), r.ID, r.Generation+1, time.Millisecond); err != nil {
			c.Fatalf("Remove: %v", err)
		}
	}
}

// wantListed wants List to have a route.
func (c *trafficRun) wantListed(id string) {
	c.Helper()
	list, err := c.Driver.List(c.Context())
	if err != nil || !slices.Contains(list, id) {
		c.Errorf("List gives %q, %v; want it to have %s", list, err, id)
	}
}
