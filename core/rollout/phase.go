package rollout

import (
	"time"

	"github.com/instarhq/instar/core"
)

// step advances the rollout by one phase, if it can.
func (p *planner) step() bool {
	r := p.running()
	if r == nil || p.service.Deleting {
		return false
	}
	p.waits = nil
	switch r.Phase {
	case core.RolloutProvisioning:
		return p.provisioning(r)
	case core.RolloutVerifying, core.RolloutApproving:
		return p.verifying(r)
	case core.RolloutSwitching:
		return p.switching(r)
	case core.RolloutBaking:
		return p.baking(r)
	case core.RolloutRetiring:
		return p.retiring(r)
	case core.RolloutRollingBack:
		return p.rollingBack(r)
	}
	return false
}

// enter moves r to a phase.
func (p *planner) enter(r *core.Rollout, phase core.RolloutPhase, note string) bool {
	p.steps = append(p.steps, enter(r, phase, note, p.now))
	return true
}

func enter(r *core.Rollout, phase core.RolloutPhase, note string, now time.Time) core.PhaseEntry {
	entry := core.PhaseEntry{Phase: phase, At: now, Note: note}
	r.Phase, r.PhaseAt = phase, now
	r.History = append(r.History, entry)
	if phase.Over() {
		r.EndedAt = now
	}
	return entry
}

func (p *planner) provisioning(r *core.Rollout) bool {
	if p.failsBeforeSwitch(r) {
		return true
	}
	needed := p.first(r)
	if run := p.tally(r.To).run; run < needed {
		p.wait("%d of %d instances of revision %d run%s", run, needed, r.To, p.trouble(r.To))
		return false
	}
	return p.enter(r, core.RolloutVerifying, plural(needed, "instance runs", "instances run"))
}

func (p *planner) verifying(r *core.Rollout) bool {
	if p.failsBeforeSwitch(r) {
		return true
	}
	needed := p.first(r)
	if healthy := p.tally(r.To).count(classHealthy); healthy < needed {
		p.wait("%d of %d instances of revision %d are healthy%s", healthy, needed, r.To, p.trouble(r.To))
		return false
	}
	note := plural(needed, "instance is healthy", "instances are healthy")
	if r.Kind == core.RolloutDeploy && p.service.Count > 0 && len(p.v.spec(r.To).Routes) > 0 {
		if waiting := p.unconfirmed(); waiting != "" {
			p.wait("preview of revision %d: %s", r.To, waiting)
			return false
		}
		smoke, done := p.smoke(r)
		if !done {
			return smoke.failed
		}
		note += smoke.note
	}
	r.SwitchedAt, r.Failure, r.Backoff = p.now, nil, nil
	p.service.Active, p.service.Revision, p.service.Backoff = r.To, r.To, nil
	return p.enter(r, core.RolloutSwitching, note)
}

func (p *planner) switching(r *core.Rollout) bool {
	if p.goesBack(r) {
		return true
	}
	if stepwise(r) && !p.replaced(r) {
		return false
	}
	if waiting := p.unconfirmed(); waiting != "" {
		p.wait("switch to revision %d: %s", r.To, waiting)
		return false
	}
	r.ConfirmedAt, r.Failure = p.now, nil
	return p.enter(r, core.RolloutBaking, "every reachable traffic target has switched")
}

func (p *planner) baking(r *core.Rollout) bool {
	if p.goesBack(r) {
		return true
	}
	spec := &p.v.spec(r.To).Rollout
	if until := r.ConfirmedAt.Add(bake(r, spec)); p.now.Before(until) {
		p.wakeAt(until)
		p.wait("revision %d bakes until %s", r.To, clock(until))
		return false
	}
	if p.service.Count > 0 && p.tally(r.To).healthy() == 0 {
		p.wait("no instance of revision %d is healthy%s", r.To, p.trouble(r.To))
		return false
	}
	if r.From == 0 || r.Rolling != nil {
		return p.enter(r, core.RolloutSucceeded, "")
	}
	p.service.Previous, p.service.KeepUntil = r.From, p.now.Add(spec.KeepPrevious.Std())
	return p.enter(r, core.RolloutRetiring, "")
}

// bake is how long a revision is watched before the one before it may go. A rollback has none: what it
// goes to was good once, and a probation could only end at the revision that the operator has left.
func bake(r *core.Rollout, spec *core.RolloutSpec) time.Duration {
	if r.Kind == core.RolloutRollback {
		return 0
	}
	return spec.Bake.Std()
}

func (p *planner) retiring(r *core.Rollout) bool {
	if until := p.service.KeepUntil; p.now.Before(until) {
		p.wakeAt(until)
		p.wait("revision %d is kept warm until %s", r.From, clock(until))
		return false
	}
	p.service.Previous, p.service.KeepUntil = 0, time.Time{}
	return p.enter(r, core.RolloutSucceeded, "")
}

func (p *planner) rollingBack(r *core.Rollout) bool {
	if stepwise(r) && !p.replaced(r) {
		return false
	}
	if waiting := p.unconfirmed(); waiting != "" {
		p.wait("way back to revision %d: %s", r.From, waiting)
		return false
	}
	return p.enter(r, core.RolloutRolledBack, "every reachable traffic target has switched back")
}

// replaced reports whether all instances have been replaced, as far as it has been written.
func (p *planner) replaced(r *core.Rollout) bool {
	revision, count := p.target(r)
	healthy, left := p.tally(revision).healthy(), p.wantedOf(olds(r))
	if healthy >= count && left == 0 {
		return true
	}
	p.wait("%d of %d instances of revision %d serve, %s to be replaced%s", healthy, count, revision,
		plural(left, "instance is", "instances are"), p.trouble(revision))
	return false
}

// wantedOf is how many instances of some revisions are still wanted to run.
func (p *planner) wantedOf(revisions []int) int {
	n := 0
	for _, revision := range revisions {
		for c, indexes := range p.tally(revision).classes {
			if c == classEnding || c == classOver || c == classRemoved {
				continue
			}
			for _, i := range indexes {
				if p.current(i).Desired == core.DesiredRun {
					n++
				}
			}
		}
	}
	return n
}
