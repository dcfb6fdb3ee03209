package rollout

import (
	"fmt"
	"reflect"
	"time"

	"github.com/instarhq/instar/core"
)

// Plan decides the next step of a service. A rollout advances as many phases at once as it can.
func Plan(v View, now time.Time) Decision {
	p := newPlanner(&v, now.UTC().Round(0))
	for p.step() {
	}
	roles := p.roles()
	p.replaceEnded(roles)
	p.reconcile(roles)
	p.endQuiet()
	p.planRoutes(roles)
	p.finishDelete()
	return p.decide()
}

// planner is the work of one Plan.
type planner struct {
	v   *View
	now time.Time

	service core.Service
	rollout *core.Rollout // the one in progress, or the one that this Plan has ended; nil: none

	tallies map[int]*tally
	listed  map[string]struct{}   // instances that a stored route lists
	changed map[int]core.Instance // new values, by index in v.Instances
	counted map[int]bool          // revisions whose failures this Plan has counted

	room *room // how many instances may be made; nil: any number

	out   Decision
	steps []core.PhaseEntry // phases entered
	waits []string
}

func newPlanner(v *View, now time.Time) *planner {
	p := &planner{
		v: v, now: now, service: v.Service,
		tallies: map[int]*tally{}, listed: map[string]struct{}{},
		changed: map[int]core.Instance{}, counted: map[int]bool{},
	}
	if r := v.current(); r != nil {
		c := *r
		c.History = append([]core.PhaseEntry(nil), r.History...)
		p.rollout = &c
	}
	for i := range v.Routes {
		for _, pool := range v.Routes[i].Pools {
			for _, e := range pool.Endpoints {
				p.listed[e.Instance] = struct{}{}
			}
		}
	}
	p.classify()
	return p
}

// running is the rollout in progress after the steps so far, or nil.
func (p *planner) running() *core.Rollout {
	if p.rollout == nil || p.rollout.Phase.Over() {
		return nil
	}
	return p.rollout
}

// wait says what the service waits for.
func (p *planner) wait(format string, args ...any) {
	p.waits = append(p.waits, fmt.Sprintf(format, args...))
}

// wakeAt asks to be called again at t.
func (p *planner) wakeAt(t time.Time) {
	if t.After(p.now) && (p.out.Wake.IsZero() || t.Before(p.out.Wake)) {
		p.out.Wake = t
	}
}

// decide fills in what has changed, and describes it.
func (p *planner) decide() Decision {
	if !reflect.DeepEqual(p.service, p.v.Service) {
		p.out.Service = &p.service
	}
	if p.rollout != nil && !reflect.DeepEqual(p.rollout, p.v.Rollout) {
		p.out.Rollout = p.rollout
	}
	for i := range p.v.Instances {
		if inst, ok := p.changed[i]; ok {
			p.out.Instances = append(p.out.Instances, inst)
		}
	}
	p.describe()
	if len(p.waits) > 0 {
		p.out.Waiting = p.waits[0]
		for _, w := range p.waits[1:] {
			p.out.Waiting += "; " + w
		}
	}
	return p.out
}

// phaseVerbs names the transactions that enter a phase.
var phaseVerbs = map[core.RolloutPhase]string{
	core.RolloutVerifying: "rollout.verify", core.RolloutSwitching: "rollout.switch",
	core.RolloutBaking: "rollout.bake", core.RolloutRetiring: "rollout.retire",
	core.RolloutSucceeded: "rollout.succeed", core.RolloutRollingBack: "rollout.roll_back",
	core.RolloutRolledBack: "rollout.rolled_back", core.RolloutFailed: "rollout.fail",
}

// describe names the transaction after the most that it does. Moving traffic is more than what follows
// from it in the same transaction.
func (p *planner) describe() {
	d := &p.out
	for _, s := range p.steps {
		d.Verb, d.Reason = phaseVerbs[s.Phase], s.Note
		if s.Phase == core.RolloutSwitching || s.Phase == core.RolloutRollingBack {
			return
		}
	}
	if r := p.running(); d.Verb == "" && r != nil && stepwise(r) && r.Phase >= core.RolloutSwitching && len(d.Routes) > 0 && len(d.Instances) > 0 {
		d.Verb, d.Reason = "rollout.step", plural(p.wantedOf(olds(r)), "instance is to be replaced yet", "instances are to be replaced yet")
		return
	}
	switch {
	case d.Verb != "":
	case d.RemoveService:
		d.Verb, d.Reason = "service.remove", "nothing is left of it"
	case len(d.Create) > 0:
		d.Verb = "instance.create"
	case len(d.Instances) > 0:
		d.Verb, d.Reason = "instance.drain", d.Instances[0].Reason
		if d.Instances[0].Desired == core.DesiredDestroy {
			d.Verb = "instance.destroy"
		}
	case len(d.Routes) > 0:
		d.Verb = "route.update"
	case len(d.RemoveRoutes) > 0:
		d.Verb = "route.remove"
	case len(d.Forget) > 0:
		d.Verb = "instance.forget"
	default:
		d.Verb = "service.update"
	}
}
