package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/api/client"
	"github.com/instarhq/instar/e2e/judge"
)

// seq is the newest sequence number.
func (c *cluster) seq() uint64 {
	c.Helper()
	health, err := c.node.API.Health(c.Context())
	if err != nil {
		c.Fatal(err)
	}
	return health.Seq
}

// start runs the client beside the test. Its daemon is going to be killed, so its outcome does not count.
func (c *cluster) start(args ...string) <-chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		ctx, cancel := context.WithTimeout(c.Context(), time.Minute)
		defer cancel()
		_, _ = c.node.CLI(ctx, args...)
	}()
	return done
}

// crash begins a change, kills the daemon at the moment at which the log shows the event, and starts it
// again. It returns when the client has ended, too.
func (c *cluster) crash(what string, at func(core.Event) bool, args ...string) {
	c.Helper()
	ctx, cancel := context.WithTimeout(c.Context(), 45*time.Second)
	defer cancel()
	after := c.seq()
	done := c.start(args...)
	killed := false
	for event, err := range c.node.API.Watch(ctx, client.Watch{After: after}) {
		if err != nil {
			c.Fatalf("%s was not seen: %v", what, err)
		}
		if event.Kind != "" && at(event) {
			if err := c.node.Kill(); err != nil {
				c.Fatal(err)
			}
			killed = true
			break
		}
	}
	if !killed {
		c.Fatalf("%s was not seen", what)
	}
	if err := c.node.Start(c.Context()); err != nil {
		c.Fatal(err)
	}
	<-done
}

// enters matches the event of a rollout entering a phase.
func enters(phase core.RolloutPhase) func(core.Event) bool {
	return func(e core.Event) bool {
		var r core.Rollout
		return e.Kind == core.KindRollout && !e.Delete && json.Unmarshal(e.Object, &r) == nil && r.Phase == phase
	}
}

// instanceIs matches the event of an instance being reported in a phase.
func instanceIs(phase core.InstancePhase) func(core.Event) bool {
	return func(e core.Event) bool {
		var s core.InstanceStatus
		return e.Kind == core.KindInstanceStatus && !e.Delete && json.Unmarshal(e.Object, &s) == nil && s.Phase == phase
	}
}

// desired matches the event of something else being wanted of an instance.
func desired(d core.Desired) func(core.Event) bool {
	return func(e core.Event) bool {
		var i core.Instance
		return e.Kind == core.KindInstance && !e.Delete && json.Unmarshal(e.Object, &i) == nil && i.Desired == d
	}
}

// TestI4EachInstanceIsMadeOnce: the daemon is killed at every phase of a rollout and of an instance's life,
// under load. Every time the rollout comes to its end after the restart, each instance was made once, no
// process is left that the store does not know, and nobody notices.
func TestI4EachInstanceIsMadeOnce(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	quick := []string{"keep_previous=1s", "bake=1s"}
	c.deploy(append(quick, "version=0")...)
	customers := c.customers(0.3)
	for i, moment := range []struct {
		what string
		at   func(core.Event) bool
	}{
		{"provisioning", enters(core.RolloutProvisioning)},
		{"an instance wanted", desired(core.DesiredRun)},
		{"an instance running", instanceIs(core.InstanceRunning)},
		{"verifying", enters(core.RolloutVerifying)},
		{"switching", enters(core.RolloutSwitching)},
		{"baking", enters(core.RolloutBaking)},
		{"retiring", enters(core.RolloutRetiring)},
		{"an instance drained", desired(core.DesiredDrain)},
		{"an instance destroyed", desired(core.DesiredDestroy)},
		{"succeeded", enters(core.RolloutSucceeded)},
	} {
		version := fmt.Sprintf("version=%d", i+1)
		c.crash(moment.what, moment.at, c.shop(append(quick, version)...)...)
		c.settles(moment.what, 2)
		if r := c.rollout(); r.Phase != core.RolloutSucceeded {
			t.Fatalf("killed at %s: rollout %s is %s, want succeeded", moment.what, r.ID(), r.Phase)
		}
	}
	c.satisfied(customers.Stop())
	c.hold(judge.All)
	c.hold(judge.Enough)
}

// TestI4RollingBackSurvivesACrash is the same for a revision that turns bad during its bake.
func TestI4RollingBackSurvivesACrash(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.deploy("version=1")
	customers := c.customers(0.3)
	for i, phase := range []core.RolloutPhase{core.RolloutRollingBack, core.RolloutRolledBack} {
		c.crash(phase.String(), enters(phase), c.shop(fmt.Sprintf("version=bad%d", i), "unhealthy_after=6s", "bake=30s")...)
		c.settles(phase.String(), 2)
		if r := c.rollout(); r.Phase != core.RolloutRolledBack {
			t.Fatalf("rollout %s is %s, want rolled back", r.ID(), r.Phase)
		}
		if active := c.service().Service.Active; active != 1 {
			t.Fatalf("revision %d is active, want 1", active)
		}
	}
	c.satisfied(customers.Stop())
	c.hold(judge.All)
}

// settles waits until the newest rollout is over and what runs is what is wanted: so many instances, each
// made once, and no process beside them.
func (c *cluster) settles(what string, want int) {
	c.Helper()
	c.await("settled after the kill at "+what, func() bool {
		return c.rollout().Phase.Over() && len(c.instances()) == want && len(c.serving()) == want && len(c.births.alive()) == want
	})
	serving := c.serving()
	for id := range c.births.alive() {
		if _, ok := serving[id]; !ok {
			c.Errorf("killed at %s: %s lives and is not known to the store", what, id)
		}
	}
	for id, n := range c.births.counts() {
		if n != 1 {
			c.Errorf("killed at %s: %s was made %d times", what, id, n)
		}
	}
}
