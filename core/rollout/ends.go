package rollout

import (
	"fmt"
	"slices"

	"github.com/instarhq/instar/core"
)

// failsBeforeSwitch ends a rollout whose green cannot or must not take over. Traffic has not moved.
func (p *planner) failsBeforeSwitch(r *core.Rollout) bool {
	t := p.tally(r.To)
	if r.AbortAsked != "" {
		return p.fail(r, &core.Failure{Message: r.AbortAsked})
	}
	for _, i := range t.of(classOver) {
		if f := p.v.Instances[i].Status.Failure; f != nil && f.Permanent {
			return p.fail(r, p.told(i))
		}
	}
	deadline := p.deadline(r)
	if p.now.Before(deadline) {
		p.wakeAt(deadline)
		return false
	}
	took, needed := deadline.Sub(r.Started), p.first(r)
	f := core.Failure{Message: fmt.Sprintf("%d of %d instances became healthy in %s", t.count(classHealthy), needed, took)}
	if t.count(classHealthy) >= needed {
		why := p.unconfirmed()
		if why == "" {
			why = "no outcome of the smoke checks"
		}
		f.Message = fmt.Sprintf("not verified in %s: %s", took, why)
	} else if cause := p.cause(r); cause != nil {
		f.Message, f.Logs = f.Message+"; "+cause.Message, cause.Logs
	}
	return p.fail(r, &f)
}

// troubled are the classes of instances that may have something to say, the most telling first.
var troubled = []class{classOver, classBad, classLate, classPending, classAway, classLost, classStranded}

// cause is what an instance of To said: one that is there, or the last one that was.
func (p *planner) cause(r *core.Rollout) *core.Failure {
	t := p.tally(r.To)
	for _, c := range troubled {
		for _, i := range t.of(c) {
			if f := p.told(i); f != nil {
				return f
			}
		}
	}
	return r.Failure
}

// told is what an instance says of its failure, nil if nothing.
func (p *planner) told(i int) *core.Failure {
	inst := &p.v.Instances[i]
	where := inst.ID + " on " + inst.Node + ": "
	switch f := inst.Status.Failure; {
	case f != nil:
		return &core.Failure{Message: where + f.Message, Logs: f.Logs, Permanent: f.Permanent}
	case inst.Status.Unhealthy != "":
		return &core.Failure{Message: where + inst.Status.Unhealthy}
	case inst.Status.Phase.Over():
		return &core.Failure{Message: where + inst.Status.Phase.String()}
	case p.v.node(&inst.Instance).State != NodeReady:
		return &core.Failure{Message: where + "the node is " + p.v.node(&inst.Instance).Since}
	}
	return nil
}

func (p *planner) fail(r *core.Rollout, f *core.Failure) bool {
	r.Failure = f
	p.service.Revision = p.service.Active
	if r.From != 0 {
		p.service.Count = r.FromCount
	}
	if len(r.Others) > 0 {
		return p.enter(r, core.RolloutRollingBack, f.Message) // From does not serve alone yet
	}
	return p.enter(r, core.RolloutFailed, f.Message)
}

// goesBack moves the traffic back to From if green must not keep it and blue can take it. A reason that
// has been seen once is kept until blue can.
func (p *planner) goesBack(r *core.Rollout) bool {
	if r.From == 0 {
		return false
	}
	why := p.whyBack(r)
	if why == nil {
		return false
	}
	blue, green := p.tally(r.From), p.tally(r.To)
	need := min(r.FromCount, green.healthy())
	if blue.healthy() < need && !stepwise(r) {
		r.AbortAsked, r.Failure = why.Message, why
		p.wait("goes back to revision %d when %d of its instances are healthy, %d are%s: %s",
			r.From, need, blue.healthy(), p.trouble(r.From), why.Message)
		return false
	}
	r.Failure, r.Backoff = why, nil
	p.service.Active, p.service.Revision, p.service.Count = r.From, r.From, r.FromCount
	p.service.Backoff = nil
	return p.enter(r, core.RolloutRollingBack, why.Message)
}

// whyStay says why a rollback that has not switched yet cannot: what was warm has died, all of it, and what it would
// leave is well. The route would send to nobody. nil: it can.
func (p *planner) whyStay(r *core.Rollout) *core.Failure {
	if r.Phase != core.RolloutSwitching || p.service.Count == 0 || p.tally(r.To).healthy() > 0 || p.tally(r.From).healthy() == 0 {
		return nil
	}
	return &core.Failure{Message: fmt.Sprintf("no instance of revision %d is healthy any more%s", r.To, p.trouble(r.To))}
}

func (p *planner) whyBack(r *core.Rollout) *core.Failure {
	if r.AbortAsked != "" {
		if r.Failure != nil && r.Failure.Message == r.AbortAsked {
			return r.Failure // with what the instance said
		}
		return &core.Failure{Message: r.AbortAsked}
	}
	if r.Kind == core.RolloutRollback && stepwise(r) {
		return nil // what it leaves serves as well, until it is replaced
	} else if r.Kind == core.RolloutRollback {
		return p.whyStay(r)
	}
	if stepwise(r) && r.Phase == core.RolloutSwitching {
		return p.whyStop(r)
	}
	t := p.tally(r.To)
	for _, c := range []class{classOver, classBad} {
		if t.count(c) == 0 {
			continue
		}
		i := t.of(c)[0]
		if f := p.told(i); f != nil {
			return f
		}
		inst := &p.v.Instances[i]
		return &core.Failure{Message: inst.ID + " on " + inst.Node + ": not healthy any more"}
	}
	if r.Phase == core.RolloutBaking {
		return p.tooManyErrors(r)
	}
	return nil
}

// whyStop says why a rolling rollout does not take another step. An instance that dies is replaced.
func (p *planner) whyStop(r *core.Rollout) *core.Failure {
	t := p.tally(r.To)
	for _, i := range t.of(classOver) {
		if f := p.v.Instances[i].Status.Failure; f != nil && f.Permanent {
			return p.told(i)
		}
	}
	if f := p.tooManyErrors(r); f != nil {
		return f
	}
	if t.healthy() >= p.service.Count {
		return nil
	}
	deadline := p.deadline(r)
	if p.now.Before(deadline) {
		p.wakeAt(deadline)
		return nil
	}
	f := core.Failure{Message: fmt.Sprintf("%d of %d instances became healthy, and no further one in %s",
		t.healthy(), p.service.Count, progressDeadline(p.v.spec(r.To)))}
	if cause := p.cause(r); cause != nil {
		f.Message, f.Logs = f.Message+"; "+cause.Message, cause.Logs
	}
	return &f
}

// tooManyErrors looks at the error rates that targets have reported of the present generation.
func (p *planner) tooManyErrors(r *core.Rollout) *core.Failure {
	limit := p.v.spec(r.To).Rollout.MaxErrorRate
	if limit <= 0 {
		return nil
	}
	for i := range p.v.Routes {
		route := &p.v.Routes[i]
		for _, t := range p.v.carriers(&route.Spec) {
			s := route.status(t)
			if s == nil || s.Generation < route.Generation {
				continue
			}
			if rate, ok := s.ErrorRate[r.To]; ok && rate > limit {
				return &core.Failure{Message: fmt.Sprintf("route %s at %s/%s: %.2f %% of the answers of revision %d are errors, %.2f %% are allowed",
					route.Name, t.Node, t.Name, 100*rate, r.To, 100*limit)}
			}
		}
	}
	return nil
}

type smoked struct {
	failed bool
	note   string
}

// smoke looks at the outcome of the smoke checks at every healthy target that has to run them. done
// means that all have passed; a failed one ends the rollout.
func (p *planner) smoke(r *core.Rollout) (out smoked, done bool) {
	spec := p.v.spec(r.To)
	passed, missing := 0, []string(nil)
	for i := range p.v.Targets {
		t := &p.v.Targets[i]
		if !t.Healthy || !slices.ContainsFunc(spec.Rollout.Smoke, func(s core.SmokeCheck) bool { return p.runs(r.To, s.Route, t) }) {
			continue
		}
		c := p.check(r, t)
		switch {
		case c == nil:
			missing = append(missing, t.Node+"/"+t.Name)
		case c.Failure != "":
			out.failed = p.fail(r, &core.Failure{Message: fmt.Sprintf("smoke check at %s/%s: %s", t.Node, t.Name, c.Failure)})
			return out, false
		default:
			passed += c.Passed
		}
	}
	if len(missing) > 0 {
		p.wait("smoke checks of revision %d at %s", r.To, some(missing))
		return out, false
	}
	if len(spec.Rollout.Smoke) > 0 {
		out.note = ", " + plural(passed, "smoke check passed", "smoke checks passed")
	}
	return out, true
}

// runs reports whether a target carries a route of the revision.
func (p *planner) runs(revision int, route string, t *Target) bool {
	spec := p.v.declares(revision, route)
	return spec != nil && t.Driver == spec.Driver && (spec.Target == "" || spec.Target == t.Name)
}

// check is the outcome at a target, nil if there is none yet. One that does not name its driver is from an
// older instard, and counts until the target has a newer one.
func (p *planner) check(r *core.Rollout, t *Target) (found *core.Check) {
	for i := range p.v.Checks {
		c := &p.v.Checks[i]
		if c.Rollout != r.ID() || c.Node != t.Node || c.Target != t.Name {
			continue
		}
		switch c.Driver {
		case t.Driver:
			return c
		case "":
			found = c
		}
	}
	return found
}
