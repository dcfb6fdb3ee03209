package e2e

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/e2e/judge"
	"github.com/instarhq/instar/e2e/load"
)

// TestI1NoUnverifiedInstanceGetsTraffic: revisions that never get healthy, crash, or fail a smoke check get
// no request, though customers keep coming while they are tried.
func TestI1NoUnverifiedInstanceGetsTraffic(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.deploy("version=1")
	customers := c.customers(0.3)
	if out := c.refuse("version=2", "never_healthy=true", "progress_deadline=3s"); !strings.Contains(out, "503") {
		t.Errorf("the client does not say what the health check got:\n%s", out)
	}
	if out := c.refuse("version=3", "crash=the shelves are empty", "progress_deadline=3s"); !strings.Contains(out, "the shelves are empty") {
		t.Errorf("the client does not show what the instance said:\n%s", out)
	}
	if active := c.service().Service.Active; active != 1 {
		t.Errorf("revision %d is active, want 1", active)
	}
	result := customers.Stop()
	for _, record := range result.Records {
		if record.Revision > 1 {
			t.Fatalf("a customer was answered by revision %d", record.Revision)
		}
	}
	c.satisfied(result)
	c.hold(judge.Verified)
}

// TestI2NeverFewerThanWanted: replacing, scaling with a replacement and rolling back never leave a route
// with fewer healthy instances than wanted.
func TestI2NeverFewerThanWanted(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.deploy("version=1")
	customers := c.customers(0.3)
	c.deploy("version=2", "count=3")
	c.must("rollback", "shop")
	c.deploy("version=3", "count=1", "keep_previous=0s")
	c.satisfied(customers.Stop())
	c.hold(judge.Enough)
	c.hold(judge.Drained)
}

// TestI3InstancesNeverChange: what an instance was created from stays, whatever becomes of the source, and
// a replacement instance of the revision is made from the same bytes.
func TestI3InstancesNeverChange(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	source := filepath.Join(c.dir, "source")
	if err := os.CopyFS(source, os.DirFS(built.shop)); err != nil {
		t.Fatal(err)
	}
	c.deploy("version=1", "artifact="+source, "banner=as deployed")
	before := c.serving()
	if err := os.Remove(filepath.Join(source, "announce")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(source, "shop"), []byte("#!/bin/sh\nexit 1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	var replaced string
	for id := range before {
		replaced = id
	}
	c.must("instance", "replace", replaced)
	c.await("another instance in its place", func() bool {
		now := c.serving()
		_, still := now[replaced]
		return !still && len(now) == len(before)
	})
	for id, v := range c.serving() {
		was, ok := before[id]
		if ok && was.Status.Fingerprint != v.Status.Fingerprint {
			t.Errorf("%s has fingerprint %s and had %s", id, v.Status.Fingerprint, was.Status.Fingerprint)
		}
		if page := fetch(t, "http://"+v.Status.Addresses["http"]+"/"); !strings.Contains(page, "as deployed") {
			t.Errorf("%s shows another page than was deployed:\n%s", id, page)
		}
	}
	c.hold(judge.Immutable)
}

func fetch(t *testing.T, url string) string {
	t.Helper()
	res, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// TestI5NothingIsDestroyedInUse: the old revision goes at once after the switch (keep_previous 0), while
// orders of half a second are still being sent to it and WebSockets are open on it.
func TestI5NothingIsDestroyedInUse(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.deploy("version=1", "keep_previous=0s", "bake=0s")
	streams := load.ShopStreams(0.2)
	for i := range streams {
		if streams[i].Pace > 0 {
			streams[i].Pace, streams[i].Rate = 500*time.Millisecond, 20
		}
	}
	customers, err := load.Start(t.Context(), load.Config{Target: c.listen, RevisionHeader: load.ShopRevisionHeader, Streams: streams})
	if err != nil {
		t.Fatal(err)
	}
	for _, version := range []string{"2", "3", "4"} {
		c.deploy("version="+version, "keep_previous=0s", "bake=0s")
		c.await("the old revision is gone", func() bool {
			active := c.service().Service.Active
			for _, v := range c.instances() {
				if v.Instance.Revision != active {
					return false
				}
			}
			return true
		})
	}
	c.satisfied(customers.Stop())
	c.hold(judge.Drained)
}

// TestI7OlderTrafficStateNeverWins: the daemon is killed at the moment of each switch; the route that it
// finds afterwards only ever moves on.
func TestI7OlderTrafficStateNeverWins(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.deploy("version=1")
	customers := c.customers(0.3)
	for _, version := range []string{"2", "3"} {
		c.crash("switching", enters(core.RolloutSwitching), c.shop("version="+version)...)
		c.await("revision "+version+" won", func() bool { return c.rollout().Phase.Good() })
	}
	c.satisfied(customers.Stop())
	c.hold(judge.Ordered)
	route, err := c.node.API.Route(t.Context(), "shop")
	if err != nil {
		t.Fatal(err)
	}
	c.await("the data plane has the newest generation", func() bool {
		now, err := c.node.API.Route(t.Context(), "shop")
		return err == nil && len(now.Statuses) == 1 && now.Statuses[0].Generation >= route.Route.Generation
	})
}

// TestI8NobodyNotices: a full day under load: replacements, a rollback, a bad revision during the bake,
// scaling, and a new configuration.
func TestI8NobodyNotices(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.deploy("version=1")
	customers := c.customers(0.5)
	c.deploy("version=2")
	c.must("rollback", "shop")
	c.refuse("version=3", "unhealthy_after=6s", "bake=20s")
	c.must("service", "scale", "shop", "3")
	c.await("three instances serve", func() bool { return len(c.serving()) == 3 })
	c.deploy("version=1", "count=3", "banner=everything must go")
	if page := fetch(t, "http://"+c.listen+"/"); !strings.Contains(page, "everything must go") {
		t.Errorf("the new configuration is not shown:\n%s", page)
	}
	c.satisfied(customers.Stop())
	c.hold(judge.All)
	if out := c.must("audit", "verify"); !strings.Contains(out, "VERIFIED") {
		t.Errorf("audit verify says:\n%s", out)
	}
}

// TestI9LifeGoesOnWithoutControlPlane: with instard dead, instances and traffic go on; with it back, they
// are the same instances.
func TestI9LifeGoesOnWithoutControlPlane(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.deploy("version=1")
	customers := c.customers(0.5)
	before := c.births.alive()
	if err := c.node.Kill(); err != nil {
		t.Fatal(err)
	}
	from, _ := customers.Count()
	c.await("300 customers were served without a control plane", func() bool {
		now, _ := customers.Count()
		return now >= from+300
	})
	if err := c.node.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.deploy("version=2") // it can act again
	c.satisfied(customers.Stop())
	after := c.births.alive()
	for id, pid := range before {
		if after[id] != pid {
			t.Errorf("%s was process %d and is %d", id, pid, after[id])
		}
	}
}
