package sdktest

import (
	"encoding/json"
	"net"
	"sync"
	"time"

	"github.com/instarhq/instar/sdk"
)

var computeCreate = []computeCheck{
	{"create/running", "Create returns when the instance is started, with its labels", func(c *computeRun) {
		spec := c.spec()
		before := time.Now().Add(-time.Minute) // the backend's clock may be another machine's
		i := c.create(spec)
		c.labels("Create", i, asked(spec))
		if i.State != sdk.StateRunning {
			c.Errorf("state is %q, want running; exit %+v", i.State, i.Exit)
		}
		if now := c.running(spec.ID); now.Fingerprint != i.Fingerprint {
			c.Errorf("Inspect right after Create gives fingerprint %s, want that of Create: %s", now.Fingerprint, i.Fingerprint)
		}
		c.nothingHidden()
		if i.Fingerprint == "" {
			c.Errorf("the fingerprint is empty")
		}
		if i.Created.Before(before) {
			c.Errorf("created is %s", i.Created)
		}
		for _, p := range spec.Ports {
			if _, _, err := net.SplitHostPort(i.Addresses[p.Name]); err != nil {
				c.Errorf("address of port %q is %q, want host:port", p.Name, i.Addresses[p.Name])
			}
		}
	}},
	{"create/same-id-once", "I4: a repeated Create returns what the first one made", func(c *computeRun) {
		spec := c.spec()
		first := c.create(spec)
		for range 3 {
			c.same("a repeated Create", c.create(spec), first)
		}
		if _, ok := c.listed(spec.ID); !ok {
			c.Errorf("List does not have the instance")
		}
		c.nothingHidden()
	}},
	{"create/concurrent-same-id", "I4: 16 concurrent Creates of one id make one instance", func(c *computeRun) {
		spec := c.spec()
		var group sync.WaitGroup
		made := make([]sdk.Instance, 16)
		errs := make([]error, len(made))
		for n := range made {
			group.Go(func() { made[n], errs[n] = c.Driver.Create(c.Context(), spec) })
		}
		group.Wait()
		for n := range made {
			if errs[n] != nil {
				c.Fatalf("concurrent Create: %v", errs[n])
			}
			c.same("a concurrent Create", made[n], made[0])
		}
		if _, ok := c.listed(spec.ID); !ok {
			c.Errorf("List does not have the instance")
		}
		c.nothingHidden()
	}},
	{"create/concurrent-ids", "concurrent Creates of several ids make one instance each, at addresses of their own", func(c *computeRun) {
		var group sync.WaitGroup
		specs := make([]sdk.InstanceSpec, 6)
		for n := range specs {
			specs[n] = c.spec()
		}
		made, errs := make([]sdk.Instance, len(specs)), make([]error, len(specs))
		for n := range specs {
			group.Go(func() { made[n], errs[n] = c.Driver.Create(c.Context(), specs[n]) })
		}
		group.Wait()
		taken := map[string]string{}
		for n, spec := range specs {
			if errs[n] != nil {
				c.Fatalf("Create %s beside others: %v", spec.ID, errs[n])
			}
			c.same("an instance made beside others", c.running(spec.ID), made[n])
			for port, address := range made[n].Addresses {
				if other, ok := taken[address]; ok {
					c.Errorf("port %q of %s is at %s, where %s is already", port, spec.ID, address, other)
				}
				taken[address] = spec.ID
			}
		}
		c.nothingHidden()
	}},
	{"create/same-id-once-after-restart", "I4: a repeated Create in a fresh process returns what the first one made", func(c *computeRun) {
		spec := c.spec()
		first := c.create(spec)
		c.reopen()
		c.same("Create by a fresh process", c.create(spec), first)
		found, ok := c.listed(spec.ID)
		if !ok {
			c.Fatalf("List of a fresh process does not have the instance")
		}
		c.same("List of a fresh process", found, first)
		if found.State != sdk.StateRunning {
			c.Errorf("state is %q after the process was replaced, want running", found.State)
		}
	}},
	{"create/other-revision", "I3: Create of an id that exists with another revision is Conflict and changes nothing", func(c *computeRun) {
		spec := c.spec()
		first := c.create(spec)
		other := spec
		other.Revision, other.RevisionDigest = 2, digest("revision 2")
		_, err := c.Driver.Create(c.Context(), other)
		wantCode(c, err, sdk.CodeConflict, "Create with another revision")
		now, err := c.Driver.Inspect(c.Context(), spec.ID)
		if err != nil {
			c.Fatalf("Inspect: %v", err)
		}
		c.same("after the refused Create", now, first)
	}},
	{"create/destroyed-id", "I4: Create of a destroyed id is Conflict, also in a fresh process", func(c *computeRun) {
		spec := c.spec()
		c.create(spec)
		c.destroy(spec.ID)
		_, err := c.Driver.Create(c.Context(), spec)
		wantCode(c, err, sdk.CodeConflict, "Create of a destroyed id")
		if c.Reopen == nil {
			return
		}
		c.reopen()
		_, err = c.Driver.Create(c.Context(), spec)
		wantCode(c, err, sdk.CodeConflict, "Create of a destroyed id by a fresh process")
	}},
	{"create/exited", "I4: Create of an instance that has exited returns it as it is", func(c *computeRun) {
		c.needs(c.Exits != nil, "Exits")
		spec := c.spec()
		spec.Config = c.Exits
		first := c.create(spec)
		c.exited(spec.ID)
		again := c.create(spec)
		c.same("Create after the exit", again, first)
		if again.State != sdk.StateExited || again.Exit == nil {
			c.Errorf("Create after the exit gives state %q, exit %+v; want exited: it must not run again", again.State, again.Exit)
		}
	}},
	{"create/unknown-attribute", "Create refuses unknown attributes at their path and leaves nothing", func(c *computeRun) {
		spec := c.spec()
		spec.Config = withAttribute(c, spec.Config, "no_such_attribute", `1`)
		_, err := c.Driver.Create(c.Context(), spec)
		wantInvalid(c, err, "no_such_attribute")
		c.nothingOf(spec.ID)
	}},
	{"create/schema", "Create refuses what Describe's workload schema does not allow, and leaves nothing", func(c *computeRun) {
		spec := c.spec()
		schema := describe(c.Context(), c, c.Driver).Workload
		checkRefusals(c, refusals(c, schema, c.Config), func(config json.RawMessage) error {
			refused := spec
			refused.Config = config
			_, err := c.Driver.Create(c.Context(), refused)
			return err
		})
		c.nothingOf(spec.ID)
		c.create(spec)
		c.running(spec.ID)
	}},
}

// exited waits until the backend says that an instance has ended by itself.
func (c *computeRun) exited(id string) sdk.Instance {
	c.Helper()
	var i sdk.Instance
	eventually(c, c.patience(), "the instance exits by itself", func() bool {
		var err error
		if i, err = c.Driver.Inspect(c.Context(), id); err != nil {
			c.Fatalf("Inspect %s: %v", id, err)
		}
		return i.State == sdk.StateExited
	})
	if i.Exit == nil {
		c.Fatalf("the instance has exited and Exit is nil")
	}
	return i
}
