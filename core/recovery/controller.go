package recovery

import (
	"context"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/state"
)

const (
	principal = "controller"
	// settleEvery is how often a recovery is looked at without a change that calls for it.
	settleEvery = 2 * time.Second
	// sweepMost bounds how many findings one transaction deletes.
	sweepMost = 5000
)

// ControllerConfig is what a Controller needs.
type ControllerConfig struct {
	State  *state.State
	Now    func() time.Time // nil: time.Now
	Logger hclog.Logger     // nil: none
}

// Controller approves recoveries that approve themselves, and ends those that are through. It runs on
// the leader.
type Controller struct {
	state *state.State
	now   func() time.Time
	log   hclog.Logger
}

// NewController makes a controller.
func NewController(config ControllerConfig) *Controller {
	c := &Controller{state: config.State, now: config.Now, log: config.Logger}
	if c.now == nil {
		c.now = time.Now
	}
	if c.log == nil {
		c.log = hclog.NewNullLogger()
	}
	c.log = c.log.Named("recovery")
	return c
}

// Run acts until ctx ends, and returns its error.
func (c *Controller) Run(ctx context.Context) error {
	watch := c.state.Watch()
	defer watch.Stop()
	if err := c.state.Ready(ctx); err != nil {
		return err
	}
	ticker := time.NewTicker(settleEvery)
	defer ticker.Stop()
	for {
		if err := c.step(ctx); err != nil && ctx.Err() == nil {
			c.log.Warn("recovery cannot go on, trying again", "in", settleEvery, "error", err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
		watch.Take() // the ticker is quick enough; changes only must not pile up
	}
}

func (c *Controller) step(ctx context.Context) error {
	view := c.state.View()
	r, ok := state.Recoveries.Get(view, core.RecoveryObject)
	switch {
	case !ok:
		return nil
	case r.Approved.IsZero():
		if !r.Rebuild || !anybodyListed(view) || len(Silent(view)) > 0 {
			return nil
		}
		c.log.Info("every target has said what it has, rebuilding")
		meta := core.Meta{Principal: principal, Verb: "recovery.approve", Reason: "asked for at the restore (-rebuild)"}
		_, err := Approve(ctx, c.state, meta, core.ApproveRequest{}, c.now)
		return err
	case r.Moved.IsZero():
		if lag := Unmoved(view); lag != "" {
			c.log.Debug("traffic has not moved yet", "waiting_for", lag)
			return nil
		}
		return c.moved(ctx)
	}
	return c.sweep(ctx)
}

func anybodyListed(r state.Reader) bool {
	for _, f := range state.Findings.All(r) {
		if f.Class == core.ClassListed {
			return true
		}
	}
	return false
}

func (c *Controller) moved(ctx context.Context) error {
	meta := core.Meta{Principal: principal, Verb: "recovery.moved", Reason: "every route is where the restored state wants it"}
	_, err := c.state.Update(ctx, meta, func(tx *state.Tx) error {
		r, ok := state.Recoveries.Get(tx, core.RecoveryObject)
		if !ok || !r.Moved.IsZero() || Unmoved(tx) != "" {
			return nil
		}
		r.Moved = c.now().UTC().Round(0)
		state.Recoveries.Put(tx, core.RecoveryObject, r)
		return nil
	})
	return err
}

// sweep deletes the findings, and then the recovery. Those of unknown instances that are to be ended
// stay until their agents have done so.
func (c *Controller) sweep(ctx context.Context) error {
	meta := core.Meta{Principal: principal, Verb: "recovery.end", Reason: "what runs agrees with what was restored"}
	_, err := c.state.Update(ctx, meta, func(tx *state.Tx) error {
		r, ok := state.Recoveries.Get(tx, core.RecoveryObject)
		if !ok {
			return nil
		}
		var done []string
		left := false
		for id, f := range state.Findings.All(tx) {
			switch {
			case r.DestroyUnknown && f.Class == core.ClassUnknown:
				left = true
			case len(done) == sweepMost:
				left = true
			default:
				done = append(done, id)
			}
		}
		for _, id := range done {
			state.Findings.Delete(tx, id)
		}
		if !left {
			state.Recoveries.Delete(tx, core.RecoveryObject)
		}
		return nil
	})
	return err
}

// Unmoved says which route is not in effect yet over the floor; empty: all are.
func Unmoved(r state.Reader) string {
	floor := Floor(r)
	for name, service := range state.Services.All(r) {
		revision, ok := state.Revisions.Get(r, core.RevisionID(name, service.Active))
		if !ok || service.Deleting {
			continue
		}
		for i := range revision.Spec.Routes {
			spec := &revision.Spec.Routes[i]
			route, ok := state.Routes.Get(r, spec.Name)
			if !ok || route.Generation <= floor {
				return "route " + spec.Name + " has not been written"
			}
			if at := notInEffect(r, &route); at != "" {
				return "route " + spec.Name + " is not in effect at " + at
			}
		}
	}
	return ""
}

// notInEffect names a target that is there and does not have the route as it is.
func notInEffect(r state.Reader, route *core.Route) string {
	has := map[string]uint64{}
	for id, s := range state.RouteStatuses.By(r, state.ByParent, route.Name) {
		has[id] = s.Generation
	}
	for name, node := range state.Nodes.All(r) {
		if s, ok := state.NodeStatuses.Get(r, name); ok && s.State != core.NodeReady {
			continue
		}
		for _, t := range node.Targets {
			carries := t.Kind == core.DriverTraffic && t.Healthy && t.Driver == route.Spec.Driver &&
				(route.Spec.Target == "" || route.Spec.Target == t.Name)
			if carries && has[core.RouteStatusID(route.Name, name, t.Name)] < route.Generation {
				return name + "/" + t.Name
			}
		}
	}
	return ""
}
