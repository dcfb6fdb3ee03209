package rollout

import (
	"slices"
	"time"

	"github.com/instarhq/instar/core"
)

// defaultDrain is what requests in flight get if no route says otherwise.
const defaultDrain = 30 * time.Second

// leave takes instances out of traffic. An instance that never was in a route has nothing to wait for.
// An empty reason keeps the one that the instance has.
func (p *planner) leave(indexes []int, reason string) {
	for _, i := range indexes {
		if p.neverServed(i) {
			p.destroy(i, reason)
			continue
		}
		inst := p.current(i)
		if inst.Desired != core.DesiredRun {
			continue
		}
		if reason != "" {
			inst.Reason = reason
		}
		inst.Desired, inst.Drain, inst.Left = core.DesiredDrain, p.now, p.horizon()
		p.changed[i] = inst
	}
}

// destroy ends an instance.
func (p *planner) destroy(i int, reason string) {
	inst := p.current(i)
	if reason != "" {
		inst.Reason = reason
	}
	inst.Desired = core.DesiredDestroy
	if inst.Drain.IsZero() {
		inst.Drain = p.now
	}
	p.changed[i] = inst
}

// current is an instance as this Plan leaves it so far.
func (p *planner) current(i int) core.Instance {
	if inst, ok := p.changed[i]; ok {
		return inst
	}
	return p.v.Instances[i].Instance
}

// horizon is a number that every generation that is written from now on is over, and none before.
func (p *planner) horizon() uint64 {
	h := max(p.v.Seq, p.v.Floor)
	for i := range p.v.Routes {
		h = max(h, p.v.Routes[i].Generation)
	}
	return h
}

// neverServed reports whether an instance can be in no data plane.
func (p *planner) neverServed(i int) bool {
	if len(p.v.Routes) == 0 {
		return true
	}
	inst := &p.v.Instances[i]
	_, listed := p.listed[inst.ID]
	return !listed && inst.Left == 0 && !inst.Status.Healthy && !inst.Status.Verified
}

// endQuiet destroys the draining instances that nothing can send to any more. Only those that were
// draining before this Plan: the routes without the others have yet to be written.
func (p *planner) endQuiet() {
	draining, waiting := 0, ""
	for i := range p.v.Instances {
		inst := &p.v.Instances[i]
		if inst.Desired != core.DesiredDrain || inst.Status.Phase.Over() || p.v.removed(inst) {
			continue
		}
		why := p.notQuiet(inst)
		if why == "" {
			p.destroy(i, "")
			continue
		}
		draining, waiting = draining+1, inst.ID+": "+why
	}
	if draining > 0 && p.running() == nil {
		p.wait("%s (%s)", plural(draining, "instance drains", "instances drain"), waiting)
	}
}

// notQuiet says why a draining instance cannot be destroyed yet; empty if it can (invariant I5).
func (p *planner) notQuiet(inst *Instance) string {
	if _, listed := p.listed[inst.ID]; listed {
		return "a route still lists it"
	}
	deadline := inst.Drain.Add(p.drainTime(inst))
	late := !p.now.Before(deadline)
	why := ""
	for i := range p.v.Routes {
		route := &p.v.Routes[i]
		carriers := p.v.carriers(&route.Spec)
		if len(carriers) == 0 && !late {
			why = "no traffic target for route " + route.Name
		}
		for _, t := range carriers {
			s := route.status(t)
			applied := s != nil && (s.Generation > inst.Left || s.Generation >= route.Generation)
			switch quiet := applied && contains(s.Quiet, inst.ID); {
			case quiet, late && (applied || !t.Healthy && !p.backSoon(t.Node)):
			case !applied && t.Healthy:
				return "route " + route.Name + " without it is not in effect at " + t.Node + "/" + t.Name + failure(s)
			default:
				why = "in flight at " + t.Node + "/" + t.Name
			}
		}
	}
	if why != "" {
		p.wakeAt(deadline)
	}
	return why
}

// backSoon reports whether a node that does not answer may do so any moment. Its data plane serves meanwhile,
// and has what it had: what that sends to stays until the node answers, or is down.
func (p *planner) backSoon(node string) bool { return p.v.Nodes[node].State == NodeUnreachable }

// drainTime is how long the requests in flight to an instance get.
func (p *planner) drainTime(inst *Instance) time.Duration {
	drain := time.Duration(0)
	longest := func(d core.Duration) {
		if d <= 0 {
			d = core.Duration(defaultDrain)
		}
		drain = max(drain, d.Std())
	}
	for i := range p.v.Routes {
		longest(p.v.Routes[i].Spec.Drain)
	}
	for i := range p.v.spec(inst.Revision).Routes {
		longest(p.v.spec(inst.Revision).Routes[i].Drain)
	}
	return drain
}

func failure(s *core.RouteStatus) string {
	if s == nil || s.Failure == "" {
		return ""
	}
	return ": " + s.Failure
}

// contains looks an id up in a sorted list.
func contains(sorted []string, id string) bool {
	_, found := slices.BinarySearch(sorted, id)
	return found
}
