package sdktest

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/instarhq/instar/sdk"
)

var computeAdopt = []computeCheck{
	{"list/complete-after-restart", "I4: List of a fresh process has every instance once, with its labels, and no destroyed one", func(c *computeRun) {
		c.needs(c.Reopen != nil, "Reopen")
		gone := c.spec()
		c.create(gone)
		c.destroy(gone.ID)
		var made []sdk.Instance
		for n := range 3 {
			spec := c.spec()
			spec.Service, spec.Revision = newID("service"), n+7
			spec.RevisionDigest = digest(spec.Service)
			made = append(made, c.create(spec))
		}
		c.reopen()
		for _, i := range made {
			found, ok := c.listed(i.ID)
			if !ok {
				c.Errorf("List of a fresh process does not have %s", i.ID)
				continue
			}
			c.same("List of a fresh process", found, i)
		}
		if _, ok := c.listed(gone.ID); ok {
			c.Errorf("List of a fresh process has the destroyed instance %s", gone.ID)
		}
		c.nothingHidden()
	}},
	{"list/state-lost", "I4: with the state directory lost, what runs at the backend is still listed and can be destroyed", func(c *computeRun) {
		c.needs(c.Unconfigured != nil, "Unconfigured")
		if c.Configure.StateDir == "" || c.Holds == nil {
			c.Skipf("not run: the fixture has no state directory, or no Holds to tell what survives its loss")
		}
		spec := c.spec()
		made := c.create(spec)
		fresh := c.Unconfigured(c)
		empty(c, c.Configure.StateDir)
		if err := fresh.Configure(c.Context(), c.Configure); err != nil {
			c.Fatalf("Configure with an empty state directory: %v", err)
		}
		c.Driver = fresh
		if len(c.Holds(c)) > 0 {
			i, ok := c.listed(spec.ID)
			if !ok {
				c.Errorf("the backend still has the instance, and List has not")
			}
			if i.Fingerprint != made.Fingerprint && i.Fingerprint != sdk.FingerprintLost {
				c.Errorf("fingerprint is %q, want the first one's or %q", i.Fingerprint, sdk.FingerprintLost)
			}
		}
		c.destroy(spec.ID)
		c.nothingOf(spec.ID)
	}},
	{"list/other-cluster", "another cluster's instances at the same backend are neither listed nor touched", func(c *computeRun) {
		c.needs(c.Other != nil, "Other")
		other, req := c.Other(c)
		foreign := c.spec()
		foreign.Cluster, foreign.Generation = req.Cluster, req.Generation
		a, err := other.Resolve(c.Context(), c.Artifact)
		if err == nil {
			err = other.Fetch(c.Context(), a, nil)
		}
		if err != nil {
			c.Fatalf("the artifact for the other cluster: %v", err)
		}
		foreign.Artifact = a
		c.atEnd(func() {
			ctx, cancel := context.WithTimeout(context.Background(), c.patience())
			defer cancel()
			if err := other.Destroy(ctx, foreign.ID, 0); err != nil {
				c.Errorf("Destroy of the other cluster's instance after the check: %v", err)
			}
		})
		made, err := other.Create(c.Context(), foreign)
		if err != nil {
			c.Fatalf("Create by the other cluster's driver: %v", err)
		}
		unharmed := func(after string) {
			c.Helper()
			i, err := other.Inspect(c.Context(), foreign.ID)
			if err != nil || i.State != sdk.StateRunning {
				c.Fatalf("after %s the other cluster's instance is %q, %v; want running", after, i.State, err)
			}
			c.same("the other cluster's instance after "+after, i, made)
		}
		if _, ok := c.listed(foreign.ID); ok {
			c.Errorf("List has the other cluster's instance %s", foreign.ID)
		}
		own := c.spec()
		c.create(own)
		w := c.watch()
		w.await(own.ID, sdk.StateRunning, c.patience())
		if w.has(foreign.ID) {
			c.Errorf("Watch reports the other cluster's instance %s", foreign.ID)
		}
		c.destroy(own.ID)
		unharmed("Destroy of an instance of this cluster")
		if _, err := c.Driver.Prune(c.Context(), nil); err != nil {
			c.Errorf("Prune: %v", err)
		}
		unharmed("Prune")
		_ = c.Driver.Destroy(c.Context(), foreign.ID, 0) // no error or a refusal: both are right
		unharmed("Destroy of its id by this cluster")
		if c.Reopen != nil {
			c.reopen()
			unharmed("a fresh process")
			if _, ok := c.listed(foreign.ID); ok {
				c.Errorf("List of a fresh process has the other cluster's instance %s", foreign.ID)
			}
		}
	}},
	{"list/beside-changes", "List never misses an instance while others come and go", func(c *computeRun) {
		steady := c.spec()
		made := c.create(steady)
		var group sync.WaitGroup
		done := make(chan struct{})
		for range 2 {
			specs := []sdk.InstanceSpec{c.spec(), c.spec()}
			group.Go(func() {
				for _, spec := range specs {
					if _, err := c.Driver.Create(c.Context(), spec); err != nil {
						c.Errorf("Create: %v", err)
					}
					if err := c.Driver.Destroy(c.Context(), spec.ID, time.Second); err != nil {
						c.Errorf("Destroy: %v", err)
					}
				}
			})
		}
		go func() { group.Wait(); close(done) }()
		for ended := false; !ended; {
			select {
			case <-done:
				ended = true // and once more
			case <-time.After(c.soon() / 200): // the backend has others to serve, too
			}
			i, ok := c.listed(steady.ID)
			if !ok {
				<-done
				c.Fatalf("List does not have %s, which was there all the time", steady.ID)
			}
			c.same("List beside changes", i, made)
		}
	}},
	{"fingerprint/drift", "I3: the fingerprint of an instance that was changed by hand is another one", func(c *computeRun) {
		c.needs(c.Change != nil, "Change")
		spec := c.spec()
		first := c.create(spec)
		c.Change(c, spec.ID)
		eventually(c, c.patience(), "the fingerprint of the changed instance becomes another one", func() bool {
			i, err := c.Driver.Inspect(c.Context(), spec.ID)
			if err != nil {
				c.Fatalf("Inspect: %v", err)
			}
			return i.Fingerprint != first.Fingerprint
		})
	}},
}

// empty removes what a directory has.
func empty(t T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	for n := 0; err == nil && n < len(entries); n++ {
		err = removeAll(filepath.Join(dir, entries[n].Name()))
	}
	if err != nil {
		t.Fatalf("emptying the state directory: %v", err)
	}
}
