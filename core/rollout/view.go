package rollout

import (
	"slices"
	"time"

	"github.com/instarhq/instar/core"
)

// View is everything that the planner looks at: the objects of one service in one snapshot.
type View struct {
	Seq     uint64 // of the snapshot
	Service core.Service
	// Rollout is the service's newest rollout, nil if there never was one.
	Rollout   *core.Rollout
	Specs     map[int]*core.Spec // by revision; at least those of Service, Rollout and Instances
	Instances []Instance         // sorted by id
	Routes    []Route            // sorted by name
	Targets   []Target           // every traffic target of every node
	Checks    []core.Check       // of Rollout
	Nodes     map[string]Node    // by name; those that are not in it are as they should be
	Shared    map[Compute]bool   // the compute targets of cluster scope
	// Floor is what every generation of a route has to be over: a stored one under it is from before a
	// restore, and a data plane may remember a newer one.
	Floor uint64
	// Hold keeps routes under the floor as they are until then, as long as the revision that serves has
	// fewer healthy instances than wanted: what serves now may be what the restored state does not know.
	Hold time.Time
}

// Instance is an instance with what its agent has seen; the zero Status if it has seen nothing.
type Instance struct {
	core.Instance
	Status core.InstanceStatus
}

// Route is a route with what the traffic targets have in effect.
type Route struct {
	core.Route
	Statuses []core.RouteStatus
}

// Target is a traffic target of a node.
type Target struct {
	Node, Driver, Name string
	Healthy            bool
	Reason             string // why it is not healthy
}

// With returns the view as it is after an operator's change.
func (v *View) With(c Change) View {
	w := *v
	w.Service = c.Service
	if c.Begun != nil {
		w.Rollout, w.Checks = c.Begun, nil
	} else if c.Ended != nil {
		w.Rollout = c.Ended
	}
	return w
}

// current is the rollout in progress, or nil.
func (v *View) current() *core.Rollout {
	if v.Rollout == nil || v.Rollout.Phase.Over() {
		return nil
	}
	return v.Rollout
}

// spec is a revision's spec; an empty one if the view does not have it, which asks for nothing.
func (v *View) spec(revision int) *core.Spec {
	if s := v.Specs[revision]; s != nil {
		return s
	}
	return &core.Spec{}
}

// declares returns the spec of a route as a revision declares it, nil if it does not.
func (v *View) declares(revision int, route string) *core.RouteSpec {
	routes := v.spec(revision).Routes
	i := slices.IndexFunc(routes, func(r core.RouteSpec) bool { return r.Name == route })
	if i < 0 {
		return nil
	}
	return &routes[i]
}

// carriers yields the traffic targets that a route is for.
func (v *View) carriers(spec *core.RouteSpec) []*Target {
	var out []*Target
	for i := range v.Targets {
		t := &v.Targets[i]
		if t.Driver == spec.Driver && (spec.Target == "" || spec.Target == t.Name) {
			out = append(out, t)
		}
	}
	return out
}

// status is what a target has reported of the route, nil if nothing.
func (r *Route) status(t *Target) *core.RouteStatus {
	for i := range r.Statuses {
		if s := &r.Statuses[i]; s.Node == t.Node && s.Target == t.Name {
			return s
		}
	}
	return nil
}

// defaultProgress is the progress deadline of a spec that has none.
const defaultProgress = 10 * time.Minute

func progressDeadline(s *core.Spec) time.Duration {
	if d := s.Rollout.ProgressDeadline.Std(); d > 0 {
		return d
	}
	return defaultProgress
}
