package rollout

import (
	"time"

	"github.com/instarhq/instar/core"
)

// bounds of a rollout that replaces instances step by step.
type bounds struct {
	surge, unavailable int
	ceiling            int // how many instances of the service may be alive for one more to be made
	floor              int // how many healthy ones serve at least for one to be taken out
}

// unasked are the bounds where nobody has said any: what served together before a rollout that is not a
// rolling one, and failed, comes back to one revision.
var unasked = core.Rolling{MaxSurge: "25%"}

func (p *planner) bounds(r *core.Rollout) bounds {
	said := r.Rolling
	if said == nil {
		said = &unasked
	}
	most, least := max(p.service.Count, r.FromCount), min(p.service.Count, r.FromCount)
	b := bounds{surge: said.MaxSurge.Up(most), unavailable: said.MaxUnavailable.Down(least)}
	if b.surge == 0 && b.unavailable == 0 {
		b.unavailable = 1 // one of the two has to move
	}
	b.ceiling, b.floor = most+b.surge, least-b.unavailable
	return b
}

// first is how many instances of To have to be verified before the switch.
func (p *planner) first(r *core.Rollout) int {
	if r.Rolling == nil {
		return p.service.Count
	}
	b := p.bounds(r)
	if b.surge > 0 {
		return min(b.surge, p.service.Count)
	}
	return min(b.unavailable, p.service.Count)
}

// firstWanted is how many instances of To are wanted before the switch: those, and what is there already.
func (p *planner) firstWanted(r *core.Rollout) int {
	t := p.tally(r.To)
	return min(p.service.Count, max(p.first(r), t.coming()))
}

// makesWay is how many instances have to go before the first ones of To can be made.
func (p *planner) makesWay(r *core.Rollout) int {
	if r.Rolling == nil || p.bounds(r).surge > 0 || p.tally(r.To).healthy() >= p.first(r) {
		return 0
	}
	return min(p.first(r), r.FromCount)
}

// olds are the revisions that a rollout replaces step by step, in the order in which they leave.
func olds(r *core.Rollout) []int {
	switch {
	case r.Phase != core.RolloutRollingBack:
		return append(append([]int(nil), r.Others...), r.From)
	case r.SwitchedAt.IsZero():
		return r.Others // To never served
	}
	return append([]int{r.To}, r.Others...)
}

// target is the revision that grows, and how far.
func (p *planner) target(r *core.Rollout) (revision, count int) {
	if r.Phase == core.RolloutRollingBack {
		return r.From, r.FromCount
	}
	return r.To, p.service.Count
}

// isAlive reports whether an instance may run. What is on a node that is down does not count: it is replaced.
func (p *planner) isAlive(i int) bool {
	inst := &p.v.Instances[i]
	return !inst.Status.Phase.Over() && p.v.node(&inst.Instance).State < NodeDown
}

// alive counts the instances of the service that may run, and those of them that are on their way out.
func (p *planner) alive() (all, ending int) {
	for i := range p.v.Instances {
		if !p.isAlive(i) {
			continue
		}
		all++
		if p.current(i).Desired != core.DesiredRun {
			ending++
		}
	}
	return all, ending
}

// deadline is when the rollout, or the present step of it, has taken too long. The time of those that have to
// leave first does not count.
func (p *planner) deadline(r *core.Rollout) time.Time {
	if r.Rolling == nil {
		return r.Deadline
	}
	late, progress := r.Deadline, progressDeadline(p.v.spec(r.To))
	if p.reach(r) > r.Rolling.Made {
		return p.now.Add(progress) // a step begins only now
	}
	for i := range p.v.Instances {
		inst := &p.v.Instances[i]
		if inst.Desired == core.DesiredRun || inst.Revision == r.To || !p.isAlive(i) {
			continue
		}
		if end := inst.Drain.Add(p.drainTime(inst)).Add(progress); end.After(late) {
			late = end
		}
	}
	return late
}

// reach is how many instances of To there can be now.
func (p *planner) reach(r *core.Rollout) int {
	want := p.service.Count
	if r.Phase < core.RolloutSwitching {
		want = p.firstWanted(r)
	}
	all, _ := p.alive()
	return min(want, p.tally(r.To).coming()+max(0, p.bounds(r).ceiling-all))
}

// noteProgress moves the deadline on when more of To are wanted, or healthy, than ever before.
func (p *planner) noteProgress(r *core.Rollout) {
	if r.Rolling == nil || r.Phase > core.RolloutSwitching {
		return
	}
	t := p.tally(r.To)
	made, joined := t.coming(), t.healthy()
	for _, c := range p.out.Create {
		if c.Revision == r.To {
			made += c.Count
		}
	}
	if made <= r.Rolling.Made && joined <= r.Rolling.Joined {
		return
	}
	next := *r.Rolling
	next.Made, next.Joined = max(next.Made, made), max(next.Joined, joined)
	r.Rolling, r.Deadline = &next, p.now.Add(progressDeadline(p.v.spec(r.To)))
}
