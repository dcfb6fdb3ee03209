package e2e

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	mobyclient "github.com/moby/moby/client"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/api/client"
	"github.com/instarhq/instar/e2e/judge"
)

// TestGreenDiesBeforeTheSwitch: every container of the other revision is killed after the last check of it and before
// HAProxy is switched, in a rollback to what was warm and in a rollout of something new. Both fail; customers stay where
// they were, and notice nothing (I1, I8).
func TestGreenDiesBeforeTheSwitch(t *testing.T) {
	t.Parallel()
	c := newDockerEdge(t)
	c.apply(1, "keep_previous=5m", "bake=0s")
	c.apply(2, "keep_previous=5m", "bake=0s")
	customers := c.everybody(0.3)

	release := c.holdSwitch()
	after := c.seq()
	if _, err := c.node.API.Rollback(t.Context(), client.Write{}, "shop", 0); err != nil {
		t.Fatal(err)
	}
	c.fails(after, release, 2)

	done, after, release := c.heldDeploy()
	c.fails(after, release, 2)
	<-done

	result := customers.Stop()
	for _, line := range result.Failures(10) {
		t.Errorf("I8: failed: %s", line)
	}
	if wrong := result.WrongRevision(judge.Timeline(c.happened())); len(wrong) > 0 {
		t.Errorf("I8: %d answers of a wrong revision: %s", len(wrong), wrong[0])
	}
	c.hold(judge.All)
}

// happened are the switches that HAProxy has made: one that was taken back before any data plane had confirmed it was
// none.
func (c *dockerEdge) happened() []judge.Switch {
	c.Helper()
	all, err := judge.Switches(c.records(), "shop")
	if err != nil {
		c.Fatal(err)
	}
	var made []judge.Switch
	for i := 0; i < len(all); i++ {
		if i+1 < len(all) && all[i].Confirmed.IsZero() && all[i+1].To == all[i].From {
			i++
			continue
		}
		made = append(made, all[i])
	}
	return made
}

// holdSwitch keeps the driver from changing HAProxy, as another process of it would, until release.
func (c *dockerEdge) holdSwitch() (release func()) {
	c.Helper()
	locks, err := filepath.Glob(filepath.Join(c.dir, "d", "drivers", "targets", "*haproxy*", "*", "lock"))
	if err != nil || len(locks) != 1 {
		c.Fatalf("the driver's lock: %v, %v", locks, err)
	}
	file, err := os.OpenFile(locks[0], os.O_RDWR, 0)
	if err != nil {
		c.Fatal(err)
	}
	c.await("the driver's lock is free", func() bool { return syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil })
	return func() { _ = file.Close() }
}

// heldDeploy begins a rollout, and holds it when its last check has gone well and HAProxy is not yet switched. That
// moment is short: a rollout that was faster is taken back, and another one begun.
func (c *dockerEdge) heldDeploy() (done <-chan struct{}, after uint64, release func()) {
	c.Helper()
	for version := 3; version < 30; version++ {
		stays := answeredBy(c.T, "http://"+c.listen+"/")
		after = c.seq()
		done = c.start(c.args(version, "driver=haproxy", "keep_previous=5m", "bake=0s")...)
		c.event(after, "a smoke check that passed", smokePassed)
		release = c.holdSwitch()
		if answeredBy(c.T, "http://"+c.listen+"/") == stays {
			return done, after, release
		}
		release()
		<-done
		c.back()
	}
	c.Fatal("no rollout could be held")
	return nil, 0, nil
}

// smokePassed matches the event of all smoke checks having gone well.
func smokePassed(e core.Event) bool {
	var check core.Check
	return e.Kind == core.KindCheck && !e.Delete && json.Unmarshal(e.Object, &check) == nil && check.Total > 0 && check.Passed == check.Total
}

// fails kills the containers of the revision to which the rollout that begins after a record wants to switch, at the
// moment at which all its checks have gone well, and then lets the driver go on. The rollout has to fail, and another
// revision to stay.
func (c *dockerEdge) fails(after uint64, release func(), stays int) {
	c.Helper()
	defer release()
	c.event(after, "switching", enters(core.RolloutSwitching))
	number := c.rollout().Number
	for id, v := range c.instances() {
		if v.Instance.Revision != stays {
			c.killContainer(id)
		}
	}
	release()
	c.await("the rollout is over", func() bool { return c.rollout().Phase.Over() })
	if r, active := c.rollout(), c.service().Service.Active; r.Number != number || r.Phase.Good() || active != stays {
		c.Errorf("rollout %s is %s and revision %d active, want it failed, and revision %d", r.ID(), r.Phase, active, stays)
	}
}

// event waits until the log shows an event.
func (c *cluster) event(after uint64, what string, at func(core.Event) bool) {
	c.Helper()
	ctx, cancel := context.WithTimeout(c.Context(), 45*time.Second)
	defer cancel()
	for event, err := range c.node.API.Watch(ctx, client.Watch{After: after}) {
		if err != nil {
			c.Fatalf("%s was not seen: %v", what, err)
		}
		if event.Kind != "" && at(event) {
			return
		}
	}
	c.Fatalf("%s was not seen", what)
}

// killContainer ends the container of an instance at once, and waits until it has ended.
func (c *dockerEdge) killContainer(instance string) {
	c.Helper()
	list, err := c.engine.API.ContainerList(c.Context(), mobyclient.ContainerListOptions{
		Filters: mobyclient.Filters{}.Add("label", "instar.instance="+instance),
	})
	if err != nil || len(list.Items) != 1 {
		c.Fatalf("the container of %s: %d, %v", instance, len(list.Items), err)
	}
	id := list.Items[0].ID
	if _, err := c.engine.API.ContainerKill(c.Context(), id, mobyclient.ContainerKillOptions{Signal: "KILL"}); err != nil {
		c.Fatal(err)
	}
	c.await("the container has ended", func() bool {
		found, err := c.engine.API.ContainerInspect(c.Context(), id, mobyclient.ContainerInspectOptions{})
		return err != nil || !found.Container.State.Running
	})
}
