package sdktest

import (
	"fmt"
	"slices"

	"github.com/instarhq/instar/sdk"
)

// Endpoints that nobody listens on: these checks send no requests.
const (
	blue  = "127.0.0.1:1"
	green = "127.0.0.1:2"
)

var trafficState = []trafficCheck{
	{"apply/observed", "Observe gives what was applied", func(c *trafficRun) {
		r := next(c.route(), pool(1, 100, blue), sdk.Pool{
			Revision: 2, Preview: true, Endpoints: []sdk.Endpoint{{ID: "web-2", Address: green}},
		})
		c.apply(r)
		c.inEffect(r)
		list, err := c.Driver.List(c.Context())
		if err != nil || !slices.Contains(list, r.ID) {
			c.Errorf("List gives %q, %v; want it to have %s", list, err, r.ID)
		}
	}},
	{"apply/whole-state", "Apply is the whole state, not a step", func(c *trafficRun) {
		first := next(c.route(), pool(1, 1, blue), pool(2, 1, green))
		c.apply(first)
		second := next(first, pool(2, 1, green))
		c.apply(second)
		c.inEffect(second)
		empty := next(second)
		c.apply(empty)
		c.inEffect(empty)
	}},
	{"apply/older-generation", "I7: Apply of an older generation is Conflict and changes nothing", func(c *trafficRun) {
		old := next(c.route(), pool(1, 1, blue))
		current := next(old, pool(2, 1, green))
		c.apply(current)
		wantCode(c, c.Driver.Apply(c.Context(), old), sdk.CodeConflict, "Apply of generation %d over %d", old.Generation, current.Generation)
		c.inEffect(current)
	}},
	{"apply/same-generation", "I7: Apply of the same generation is a no-op", func(c *trafficRun) {
		r := next(c.route(), pool(1, 1, blue))
		c.apply(r)
		c.apply(r)
		other := r
		other.Pools = []sdk.Pool{pool(2, 1, green)}
		if err := c.Driver.Apply(c.Context(), other); err != nil {
			c.Errorf("Apply of the same generation: %v", err)
		}
		c.inEffect(r)
	}},
	{"apply/independent", "routes do not disturb each other", func(c *trafficRun) {
		one, two := next(c.route(), pool(1, 1, blue)), next(c.route(), pool(7, 1, green))
		c.apply(one)
		c.apply(two)
		c.remove(one, one.Generation+1)
		c.inEffect(two)
	}},
	{"apply/many-endpoints", "a route may have 5,000 endpoints", func(c *trafficRun) {
		big := sdk.Pool{Revision: 1, Weight: 1}
		for n := range 5000 {
			big.Endpoints = append(big.Endpoints, sdk.Endpoint{
				ID: fmt.Sprintf("conformance-with-a-long-name-%05d", n), Address: fmt.Sprintf("127.1.%d.%d:65535", n/250, n%250+1),
			})
		}
		r := next(c.route(), big)
		c.apply(r)
		c.inEffect(r)
	}},
	{"observe/unknown-route", "Observe of an unknown route is NotFound", func(c *trafficRun) {
		_, err := c.Driver.Observe(c.Context(), newID("unknown"))
		wantCode(c, err, sdk.CodeNotFound, "Observe of an unknown route")
	}},
	{"apply/unknown-attribute", "Apply refuses unknown attributes at their path and leaves nothing", func(c *trafficRun) {
		r := next(c.route(), pool(1, 1, blue))
		r.Config = withAttribute(c, r.Config, "no_such_attribute", `1`)
		wantInvalid(c, c.Driver.Apply(c.Context(), r), "no_such_attribute")
		_, err := c.Driver.Observe(c.Context(), r.ID)
		wantCode(c, err, sdk.CodeNotFound, "Observe after the refused Apply")
	}},
}
