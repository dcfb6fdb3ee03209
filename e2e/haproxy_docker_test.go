package e2e

import (
	"fmt"
	"testing"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/api/client"
	"github.com/instarhq/instar/e2e/balancer"
	"github.com/instarhq/instar/e2e/judge"
	"github.com/instarhq/instar/e2e/load"
	"github.com/instarhq/instar/plugins/traffic/haproxy/socket"
)

// dockerEdge is a service in containers behind HAProxy.
type dockerEdge struct {
	*dockerCluster
	balancer *balancer.Balancer
}

func newDockerEdge(t *testing.T) *dockerEdge {
	t.Helper()
	// HAProxy's own checks as often as they are by default: see the comment at the health check in testdata/docker.hcl.
	b, target := startHAProxy(t, "1s")
	return &dockerEdge{dockerClusterBehind(t, target), b}
}

// apply makes the shop's next version, and waits for the rollout's end.
func (c *dockerEdge) apply(version int, variables ...string) {
	c.Helper()
	c.must(c.args(version, append([]string{"driver=haproxy"}, variables...)...)...)
}

// everybody is the shop's usual mix with orders on connections that were idle.
func (c *dockerEdge) everybody(scale float64) *load.Run {
	c.Helper()
	run, err := load.Start(c.Context(), load.Config{
		Target: c.listen, RevisionHeader: load.ShopRevisionHeader,
		Streams: append(load.ShopStreams(scale), load.ShopIdlePosts(scale)),
	})
	if err != nil {
		c.Fatal(err)
	}
	c.Cleanup(func() { run.Stop() })
	return run
}

// back rolls back, and waits until the traffic is where it was before, confirmed by HAProxy.
func (c *dockerEdge) back() {
	c.Helper()
	before := c.service().Service
	if _, err := c.node.API.Rollback(c.Context(), client.Write{}, "shop", 0); err != nil {
		c.Fatal(err)
	}
	c.await("the rollback is done", func() bool {
		now := c.service()
		return now.Service.Active == before.Previous && now.Rollout.Rollout.Phase >= core.RolloutRetiring
	})
}

// reloads says how often HAProxy was reloaded.
func (c *dockerEdge) reloads() int {
	c.Helper()
	procs, err := socket.Master{Path: c.balancer.Socket()}.Processes(c.Context())
	if err != nil {
		c.Fatal(err)
	}
	return procs.Reloads
}

// TestI8HundredSwitchesOfContainers replaces a service in containers behind HAProxy five times, and takes it back and
// forth 95 times more, under every kind of load. Nobody notices, and HAProxy is not reloaded.
func TestI8HundredSwitchesOfContainers(t *testing.T) {
	t.Parallel()
	const replacements, switches = 5, 100
	c := newDockerEdge(t)
	warm := []string{"keep_previous=5m", "bake=0s"}
	c.apply(0, warm...)
	reloads := c.reloads()
	customers := c.everybody(0.7)
	for n := range switches {
		if n%(switches/replacements) == 0 {
			c.apply(n+1, warm...)
		} else {
			c.back()
		}
	}
	result := customers.Stop()
	c.satisfied(result)
	c.hold(judge.All)
	c.hold(judge.Enough)
	if got, err := judge.Switches(c.records(), "shop"); err != nil || len(got) != switches+1 {
		t.Errorf("the log has %d switches (%v), want %d and the first", len(got), err, switches)
	}
	if now := c.reloads(); now != reloads {
		t.Errorf("HAProxy was reloaded %d times for switches", now-reloads)
	}
	c.served(result)
}

// served fails the test if a kind of customer did not come.
func (c *dockerEdge) served(result *load.Result) {
	c.Helper()
	seen := map[load.Kind]int{}
	for _, row := range result.Summary() {
		seen[row.Kind] = row.Requests
	}
	for kind := load.KeepAlive; kind <= load.Echo; kind++ {
		if seen[kind] == 0 {
			c.Errorf("no customer of the kind %s came", kind)
		}
	}
	c.Log(fmt.Sprint(seen))
}
