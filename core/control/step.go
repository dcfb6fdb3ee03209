package control

import (
	"context"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/recovery"
	"github.com/instarhq/instar/core/rollout"
	"github.com/instarhq/instar/core/state"
)

// principal is who the controller is in the log.
const principal = "controller"

// roomEvery is how often room is looked for again when instances have no place. Nothing tells a service
// that another one has made room.
const roomEvery = 2 * time.Second

// stepped is the outcome of one step of a service.
type stepped struct {
	planning time.Duration // without waiting for the commit
	more     bool          // not all of the decision fitted into the transaction
	moved    bool          // the rollout has moved, or instances were made: there is something to see
	gone     bool          // there is no such service
	wake     time.Time
}

// safely is step with a panic as an error.
func (c *Controller) safely(ctx context.Context, name string, cause uint64) (s stepped, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
			c.views.distrust(name)
		}
	}()
	return c.step(ctx, name, cause)
}

// step plans a service and writes what is decided, as one transaction.
func (c *Controller) step(ctx context.Context, name string, cause uint64) (s stepped, err error) {
	w := writer{budget: c.budget, create: c.create}
	defer func() { c.places.giveBack(w.created) }() // nothing, if they have been kept
	exists, waiting := false, ""
	meta := core.Meta{Principal: principal, Verb: "service.update", Cause: cause}
	_, err = c.state.Update(ctx, meta, func(tx *state.Tx) error {
		begin := time.Now()
		defer func() { s.planning += time.Since(begin) }()
		c.places.giveBack(w.created)
		w.reset(c.now())
		if recovery.Looking(tx) {
			exists = true
			return nil
		}
		var view rollout.View
		view, exists = viewWith(tx, name, tx.Seq(), func(expected int) []rollout.Instance {
			return c.views.instances(tx, tx.Seq(), name, expected)
		})
		if !exists {
			c.views.forget(name)
			return nil
		}
		d := rollout.Plan(view, w.now)
		s.wake, s.moved, waiting = d.Wake, d.Rollout != nil || len(d.Create) > 0, d.Waiting
		tx.Describe(d.Verb, d.Reason)
		w.write(tx, &view, &d)
		if collect(tx, &view) && d.Empty() {
			tx.Describe("rollout.collect", "ended, and not among the newest")
		}
		return nil
	})
	if err != nil {
		return s, err
	}
	c.places.keep(w.created)
	s.more, s.gone = w.more, !exists
	if w.noRoom != "" {
		c.log.Warn("no room for instances", "service", name, "reason", w.noRoom)
		if soon := c.now().Add(roomEvery); s.wake.IsZero() || soon.Before(s.wake) {
			s.wake = soon
		}
	}
	c.log.Debug("planned", "service", name, "waiting", waiting, "took", s.planning)
	return s, nil
}
