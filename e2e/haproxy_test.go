package e2e

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/e2e/balancer"
	"github.com/instarhq/instar/e2e/judge"
	"github.com/instarhq/instar/e2e/load"
	"github.com/instarhq/instar/e2e/node"
)

const haproxyConfig = `
cluster = "edge"
node { name = "n1" }
compute "process" "local" {}
`

const haproxyTarget = `
traffic "haproxy" "edge" {
  master_socket  = %q
  directory      = %q
  check_interval = "200ms"
}
`

// startHAProxy runs a real HAProxy, and gives the target that instard has for it.
func startHAProxy(t *testing.T) (b *balancer.Balancer, target string) {
	t.Helper()
	b, err := balancer.New(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("HAProxy's last words:\n%s", b.Log())
		}
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b, fmt.Sprintf(haproxyTarget, b.Socket(), b.Directory())
}

// haproxyCluster runs an instard with a real HAProxy before it.
func haproxyCluster(t *testing.T) (*cluster, *balancer.Balancer) {
	t.Helper()
	b, target := startHAProxy(t)
	config := filepath.Join(b.Dir(), "instard.hcl")
	if err := os.WriteFile(config, []byte(haproxyConfig+target), 0o600); err != nil {
		t.Fatal(err)
	}
	return startCluster(t, node.Options{Config: config}, func(string) {}), b
}

// TestHAProxyCrashes: instard is killed at each phase of a rollout behind HAProxy, under load; HAProxy is
// reloaded in between. Nobody notices (I1, I5, I7, I8).
func TestHAProxyCrashes(t *testing.T) {
	t.Parallel()
	c, b := haproxyCluster(t)
	quick := []string{"driver=haproxy", "keep_previous=1s", "bake=1s"}
	c.deploy(append(quick, "version=0")...)
	customers := c.customers(0.3)
	for i, phase := range []core.RolloutPhase{
		core.RolloutProvisioning, core.RolloutVerifying, core.RolloutSwitching, core.RolloutBaking, core.RolloutRetiring,
	} {
		c.crash(phase.String(), enters(phase), c.shop(append(quick, fmt.Sprintf("version=%d", i+1))...)...)
		if err := b.Reload(t.Context()); err != nil {
			t.Fatal(err)
		}
		c.settles(phase.String(), 2)
		if r := c.rollout(); r.Phase != core.RolloutSucceeded {
			t.Fatalf("killed at %s: rollout %s is %s, want succeeded", phase, r.ID(), r.Phase)
		}
	}
	c.satisfied(customers.Stop())
	c.hold(judge.All)
}

// TestHAProxyKilled: HAProxy dies and is started again, also while instard is away; it serves the present
// revision at once, and the next rollouts and rollbacks go well.
func TestHAProxyKilled(t *testing.T) {
	t.Parallel()
	c, b := haproxyCluster(t)
	c.deploy("driver=haproxy", "version=1")
	c.deploy("driver=haproxy", "version=2")
	back := func() {
		t.Helper()
		b.Kill()
		if err := b.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		// At once: HAProxy finds everything in its files.
		if got := answeredBy(t, "http://"+c.listen+"/"); got != "2" {
			t.Errorf("after HAProxy's restart revision %q answers, want 2", got)
		}
	}
	back()
	if err := c.node.Kill(); err != nil {
		t.Fatal(err)
	}
	back()
	if err := c.node.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	customers := c.customers(0.3)
	c.must("rollback", "shop")
	c.deploy("driver=haproxy", "version=3")
	c.refuse("driver=haproxy", "version=4", "unhealthy_after=3s", "bake=20s")
	c.satisfied(customers.Stop())
	c.hold(judge.All)
}

// answeredBy is the revision that answers a request.
func answeredBy(t *testing.T, url string) string {
	t.Helper()
	res, err := http.Get(url)
	if err != nil {
		return err.Error()
	}
	defer func() { _ = res.Body.Close() }()
	return res.Header.Get(load.ShopRevisionHeader)
}
