package e2e

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/e2e/balancer"
	"github.com/instarhq/instar/e2e/judge"
	"github.com/instarhq/instar/e2e/load"
	"github.com/instarhq/instar/e2e/node"
	"github.com/instarhq/instar/plugins/traffic/haproxy/socket"
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
  check_interval = %q
}
`

// startHAProxy runs a real HAProxy, and gives the target that instard has for it.
func startHAProxy(t *testing.T, checkInterval string) (b *balancer.Balancer, target string) {
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
	return b, fmt.Sprintf(haproxyTarget, b.Socket(), b.Directory(), checkInterval)
}

// haproxyCluster runs an instard with a real HAProxy before it.
func haproxyCluster(t *testing.T) (*cluster, *balancer.Balancer) {
	t.Helper()
	b, target := startHAProxy(t, "200ms")
	config := filepath.Join(b.Dir(), "instard.hcl")
	if err := os.WriteFile(config, []byte(haproxyConfig+target), 0o600); err != nil {
		t.Fatal(err)
	}
	return startCluster(t, node.Options{Config: config}, func(string) {}), b
}

// TestHAProxyCrashes replaces a service in containers behind HAProxy under load, while instard is killed at every phase,
// HAProxy is reloaded, and dockerd dies and comes back. Nobody notices (I1, I4, I5, I7, I8).
func TestHAProxyCrashes(t *testing.T) {
	t.Parallel()
	c := newDockerEdge(t)
	c.apply(0)
	customers := c.everybody(0.3)
	version := 0
	next := func() []string {
		version++
		return c.args(version, "driver=haproxy")
	}
	done := c.start(next()...)
	c.await("the rollout begins", func() bool { return len(c.instances()) > 2 })
	// Published ports are the engine's: while it starts, they refuse connections, and HAProxy can but pass that on.
	down := load.Window{From: time.Now()}
	c.restartEngine()
	down.To = time.Now()
	<-done
	c.settled("dockerd was killed in a rollout")
	c.succeeded("dockerd was killed in a rollout")
	for _, moment := range []struct {
		what string
		at   func(core.Event) bool
	}{
		{"provisioning", enters(core.RolloutProvisioning)},
		{"verifying", enters(core.RolloutVerifying)},
		{"switching", enters(core.RolloutSwitching)},
		{"baking", enters(core.RolloutBaking)},
		{"retiring", enters(core.RolloutRetiring)},
	} {
		c.crash(moment.what, moment.at, next()...)
		if err := c.balancer.Reload(t.Context()); err != nil {
			t.Fatal(err)
		}
		c.settled("the daemon was killed at " + moment.what)
		c.succeeded("the daemon was killed at " + moment.what)
	}
	c.satisfiedBut(customers.Stop(), []load.Window{down})
	c.hold(judge.All)
	c.hold(judge.Enough)
}

// succeeded fails the test if the newest rollout has not, or if another revision than its own answers.
func (c *cluster) succeeded(what string) {
	c.Helper()
	r := c.rollout()
	if r.Phase != core.RolloutSucceeded {
		c.Fatalf("%s: rollout %s is %s, want succeeded", what, r.ID(), r.Phase)
	}
	if got := answeredBy(c.T, "http://"+c.listen+"/"); got != fmt.Sprint(r.To) {
		c.Errorf("%s: revision %q answers, want %d", what, got, r.To)
	}
}

// TestHAProxyKilled: after a rolling rollout that nobody disturbs, HAProxy dies before, at and after a switch, and is
// started again, also while instard is away. Only what comes while it is down fails. It serves the present revision at once, never an older one, and the next
// rollouts and rollbacks go well (I7, I8).
func TestHAProxyKilled(t *testing.T) {
	t.Parallel()
	c, b := haproxyCluster(t)
	quick := []string{"driver=haproxy", "keep_previous=1s", "bake=1s"}
	c.deploy(append(quick, "version=-1", "count=4")...)
	c.rollBehind(b, "driver=haproxy", "keep_previous=0s", "bake=1s", "version=0", "count=4")
	customers := c.customers(0.3)
	var down []load.Window
	kill := func() {
		t.Helper()
		from := time.Now()
		b.Kill()
		if err := b.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		down = append(down, load.Window{From: from, To: time.Now()})
	}
	for i, phase := range []core.RolloutPhase{
		core.RolloutVerifying, core.RolloutSwitching, core.RolloutRetiring,
	} {
		after := c.seq()
		done := c.start(c.shop(append(quick, fmt.Sprintf("version=%d", i+1))...)...)
		c.event(after, phase.String(), enters(phase))
		kill()
		<-done
		c.settles(phase.String(), 2)
		c.succeeded("HAProxy was killed at " + phase.String())
	}
	c.deploy("driver=haproxy", "version=7")
	active := fmt.Sprint(c.service().Service.Active)
	if err := c.node.Kill(); err != nil {
		t.Fatal(err)
	}
	kill()
	// At once, and without instar: HAProxy finds everything in its files.
	if got := answeredBy(t, "http://"+c.listen+"/"); got != active {
		t.Errorf("after HAProxy's restart revision %q answers, want %s", got, active)
	}
	if err := c.node.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.must("rollback", "shop")
	c.deploy("driver=haproxy", "version=8")
	c.refuse("driver=haproxy", "version=9", "unhealthy_after=3s", "bake=20s")
	c.satisfiedBut(customers.Stop(), down)
	c.hold(judge.All)
}

// rollBehind replaces four instances behind HAProxy step by step, without a reload: none gets requests that was not
// verified (I1), enough serve all the time (I2), and no customer notices (I8).
func (c *cluster) rollBehind(b *balancer.Balancer, variables ...string) {
	c.Helper()
	reloads := func() int {
		procs, err := socket.Master{Path: b.Socket()}.Processes(c.Context())
		if err != nil {
			c.Fatal(err)
		}
		return procs.Reloads
	}
	before, customers := reloads(), c.customers(0.3)
	c.deploy(append(variables, "strategy=rolling", "max_surge=1", "max_unavailable=1")...)
	c.settles("a rolling rollout", 4)
	c.succeeded("a rolling rollout")
	if r := c.rollout(); r.Rolling == nil || r.Rolling.Joined != 4 {
		c.Errorf("rollout %s: %+v", r.ID(), r.Rolling)
	}
	if now := reloads(); now != before {
		c.Errorf("HAProxy was reloaded %d times for a rolling rollout", now-before)
	}
	c.satisfied(customers.Stop())
	c.hold(judge.All)
	c.hold(judge.Enough)
	c.hold(judge.Bounded)
}

// satisfiedBut fails the test if a customer noticed anything but that something on the way was down (I8): the requests that were
// under way, or came, while it was; and the next message on a WebSocket that was open then.
func (c *cluster) satisfiedBut(result *load.Result, down []load.Window) {
	c.Helper()
	switches, err := judge.Switches(c.records(), "shop")
	if err != nil {
		c.Fatal(err)
	}
	failed := 0
	for i := range result.Records {
		r := &result.Records[i]
		if r.Outcome == load.OK {
			continue
		}
		failed++
		begin, end := result.Start.Add(r.Begin), result.Start.Add(r.End)
		if r.Kind == load.Echo {
			begin = begin.Add(-nextMessage)
		}
		if !slices.ContainsFunc(down, func(w load.Window) bool { return end.After(w.From) && begin.Before(w.To) }) {
			c.Errorf("I8: %s, begun at %s and over at %s, while nothing was down: %s", r.Kind, begin.Format("15:04:05.000"), end.Format("15:04:05.000"), r.Outcome)
		}
	}
	for i, line := range result.WrongRevision(judge.Timeline(switches)) {
		if i < 10 {
			c.Errorf("I8: wrong revision: %s", line)
		}
	}
	c.Logf("%d requests, %d failed while something was down; %d of %d sessions with it", len(result.Records), failed, result.Lost, result.Sessions)
}

// nextMessage is how long a customer may be silent on a WebSocket, with room.
const nextMessage = 5 * time.Second

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
