package sdktest

import (
	"github.com/instarhq/instar/sdk"
)

var computeRead = []computeCheck{
	{"inspect/labels", "Inspect and List read back what Create returned", func(c *computeRun) {
		spec := c.spec()
		made := c.create(spec)
		i, err := c.Driver.Inspect(c.Context(), spec.ID)
		if err != nil {
			c.Fatalf("Inspect: %v", err)
		}
		c.labels("Inspect", i, asked(spec))
		c.same("Inspect", i, made)
		found, ok := c.listed(spec.ID)
		if !ok {
			c.Fatalf("List does not have the instance")
		}
		c.labels("List", found, asked(spec))
		c.same("List", found, made)
	}},
	{"inspect/unknown-id", "Inspect of an unknown id is NotFound", func(c *computeRun) {
		_, err := c.Driver.Inspect(c.Context(), newID("unknown"))
		wantCode(c, err, sdk.CodeNotFound, "Inspect of an unknown id")
	}},
	{"list/by-cluster", "List is of one cluster and any generation", func(c *computeRun) {
		old := c.spec()
		old.Generation--
		c.create(old)
		if i, ok := c.listed(old.ID); !ok || i.Generation != old.Generation {
			c.Errorf("List has %v, generation %d; want the instance of generation %d", ok, i.Generation, old.Generation)
		}
		other, err := c.Driver.List(c.Context(), newID("cluster"))
		if err != nil || len(other) != 0 {
			c.Errorf("List of another cluster gives %d instances, %v; want none", len(other), err)
		}
	}},
	{"configure/leaves-instances", "I3: Configure leaves the instances alone", func(c *computeRun) {
		spec := c.spec()
		made := c.create(spec)
		if err := c.Driver.Configure(c.Context(), c.Configure); err != nil {
			c.Fatalf("Configure: %v", err)
		}
		i, err := c.Driver.Inspect(c.Context(), spec.ID)
		if err != nil || i.State != sdk.StateRunning {
			c.Fatalf("after Configure the instance is %q, %v; want running", i.State, err)
		}
		c.same("after Configure", i, made)
	}},
	{"fingerprint/stable", "I3: the fingerprint is stable and tells different instances apart", func(c *computeRun) {
		one, two := c.spec(), c.spec()
		two.Env = map[string]string{"CONFORMANCE": "two"}
		first, second := c.create(one), c.create(two)
		if first.Fingerprint == second.Fingerprint {
			c.Errorf("instances with different environments have one fingerprint, %s", first.Fingerprint)
		}
		for range 3 {
			i, err := c.Driver.Inspect(c.Context(), one.ID)
			if err != nil || i.Fingerprint != first.Fingerprint {
				c.Errorf("the fingerprint became %s, %v; it was %s", i.Fingerprint, err, first.Fingerprint)
			}
		}
		if c.Reopen == nil {
			return
		}
		c.reopen()
		i, err := c.Driver.Inspect(c.Context(), one.ID)
		if err != nil || i.Fingerprint != first.Fingerprint {
			c.Errorf("to a fresh process the fingerprint is %s, %v; it was %s", i.Fingerprint, err, first.Fingerprint)
		}
	}},
}
