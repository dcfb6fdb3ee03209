package agent

import (
	"context"
	"time"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/state"
	"github.com/instarhq/instar/sdk"
)

// syncInstance passes what the store wants of an instance of this node to the life that looks after it,
// and begins one if there is none.
func (a *Agent) syncInstance(ctx context.Context, view *state.View, id string, inst core.Instance) {
	if inst.Node != a.cfg.Node {
		return
	}
	a.mu.Lock()
	l, ok := a.lives[id]
	a.mu.Unlock()
	if ok {
		l.want(inst)
		return
	}
	status, _ := state.InstanceStatuses.Get(view, id)
	if status.Phase == core.InstanceGone {
		return
	}
	c := a.computeOf(ctx, targetKey{inst.Driver, inst.Target})
	tenure := c.acting()
	if tenure == nil {
		return // when this node gets the target's lease it looks again
	}
	l = newLife(tenure, a, c, inst, status)
	a.mu.Lock()
	if _, ok := a.lives[id]; ok {
		a.mu.Unlock()
		l.stop()
		return
	}
	a.lives[id] = l
	a.mu.Unlock()
	a.group.Go(func() {
		defer l.stop()
		l.run()
	})
}

// dropLife forgets an instance that the store no longer has. What may be left of it at the backend is
// an orphan then.
func (a *Agent) dropLife(id string) {
	a.mu.Lock()
	l, ok := a.lives[id]
	delete(a.lives, id)
	a.mu.Unlock()
	if ok {
		l.drop()
	}
}

// unwantedLives are the instances that are looked after and not in the store.
func (a *Agent) unwantedLives(view *state.View) []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	var ids []string
	for id := range a.lives {
		if inst, ok := state.Instances.Get(view, id); !ok || inst.Node != a.cfg.Node {
			ids = append(ids, id)
		}
	}
	return ids
}

// livesOf are the lives of a target.
func (a *Agent) livesOf(c *compute) []*life {
	a.mu.Lock()
	defer a.mu.Unlock()
	var out []*life
	for _, l := range a.lives {
		if l.compute == c {
			out = append(out, l)
		}
	}
	return out
}

// lifeOf is the life of an instance, or nil.
func (a *Agent) lifeOf(id string) *life {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.lives[id]
}

// computeOf is the keeper of a compute target, which it starts if there is none yet. A target that the
// host does not have gets one too: its instances wait for it.
func (a *Agent) computeOf(ctx context.Context, key targetKey) *compute {
	a.mu.Lock()
	defer a.mu.Unlock()
	shared := a.shared(core.DriverCompute, key)
	c, ok := a.computes[key]
	if ok && (c.shared || !shared) {
		return c
	}
	if ok { // its scope was not known as long as its driver was not there
		c.end()
		for id, l := range a.lives {
			if l.compute == c {
				delete(a.lives, id)
				l.drop()
			}
		}
	}
	c = newCompute(a, key)
	c.shared = shared
	a.computes[key] = c
	ctx, c.end = context.WithCancel(ctx)
	if shared {
		a.group.Go(func() { a.tenures(ctx, core.DriverCompute, key, c.actFor) })
		return c
	}
	c.tenure = ctx
	a.group.Go(func() { c.watch(ctx) })
	a.group.Go(func() { c.compare(ctx) })
	return c
}

// driver gives the driver of the target, or why there is none right now.
func (c *compute) driver() (sdk.Compute, error) {
	if c.shared && !time.Now().Before(c.agent.until(core.DriverCompute, c.key)) {
		return nil, errNotHolder
	}
	return c.agent.cfg.Host.Compute(c.key.driver, c.key.name)
}
