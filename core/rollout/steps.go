package rollout

import (
	"slices"

	"github.com/instarhq/instar/core"
)

// bound lets instances be made only as far as the rollout's surge goes.
func (p *planner) bound(r *core.Rollout) {
	all, _ := p.alive()
	p.room = &room{free: p.bounds(r).ceiling - all}
}

// room is what is left of a rollout's surge.
type room struct{ free int }

// take gives at most n of it.
func (r *room) take(n int) int {
	n = max(0, min(n, r.free))
	r.free -= n
	return n
}

// prepare brings the instances to what is wanted until the switch. What serves comes first.
func (p *planner) prepare(r *core.Rollout, roles map[int]role) {
	excess := -r.FromCount + p.makesWay(r)
	for _, revision := range r.Others {
		excess += p.tally(revision).healthy()
	}
	for _, revision := range r.Others {
		excess -= p.letGo(revision, excess, "makes way for revision %d", r.To)
	}
	if from, ok := roles[r.From]; ok {
		p.scale(r.From, from.want)
	}
	want := roles[r.To].want
	p.freeFromBad(r.To, want, want)
	p.scale(r.To, want)
}

// advance takes the next step: instances of the old revisions leave as far as the bounds allow, and as many
// of the new one are made as there is room for.
func (p *planner) advance(r *core.Rollout) {
	revision, count := p.target(r)
	b, t, gone := p.bounds(r), p.tally(revision), olds(r)
	serving := t.healthy()
	for _, old := range gone {
		o := p.tally(old)
		p.leave(slices.Concat(o.of(classPending), o.of(classLate), o.of(classStranded)), replacedBy(r, revision))
		serving += o.healthy()
	}
	all := t.healthy() >= count
	if all {
		for _, old := range gone {
			o := p.tally(old)
			p.leave(slices.Concat(o.of(classBad), o.of(classAway), o.of(classLost)), replacedBy(r, revision))
		}
	}
	need := p.lacking(t, revision, count)
	need -= p.dropBad(r, gone, min(need, b.surge+b.unavailable-t.count(classPending)), revision)
	over := max(serving-count, need)
	if all {
		over = serving
	}
	if over = min(over, serving-b.floor); over > 0 && !p.unsettled() {
		for _, old := range gone {
			over -= p.letGo(old, over, "%s", replacedBy(r, revision))
		}
	}
	p.freeFromBad(revision, count, b.surge+b.unavailable-t.count(classPending))
	p.scale(revision, count)
}

// lacking is how many instances of a revision have neither been made, nor have room, nor will have it when
// those that are on their way out are gone. None while they could not be made anyway.
func (p *planner) lacking(t *tally, revision, count int) int {
	if _, held := p.heldBack(revision); held {
		return 0
	}
	_, ending := p.alive()
	return max(0, count-t.coming()-max(0, p.room.free)-ending)
}

// dropBad lets at most n instances of the old revisions go that do not serve, and tells how many.
func (p *planner) dropBad(r *core.Rollout, gone []int, n, revision int) int {
	dropped := 0
	for _, old := range gone {
		o := p.tally(old)
		bad := append(p.longestBad(o.of(classBad)), o.of(classAway)...)
		bad = bad[:max(0, min(n-dropped, len(bad)))]
		p.leave(bad, replacedBy(r, revision))
		dropped += len(bad)
	}
	return dropped
}

// freeFromBad lets at most n instances of the revision that grows go that do not serve, if others could not be
// made in their place: as long as there is a surge they stay until another one serves.
func (p *planner) freeFromBad(revision, want, n int) {
	t := p.tally(revision)
	bad := p.longestBad(t.of(classBad))
	if n = min(n, p.lacking(t, revision, want), len(bad)); n > 0 {
		p.leave(bad[:n], "unhealthy")
	}
}

// letGo takes at most n healthy instances of a revision out of traffic, and tells how many.
func (p *planner) letGo(revision, n int, format string, args ...any) int {
	if n <= 0 {
		return 0
	}
	t := p.tally(revision)
	chosen := slices.Clone(t.of(classReplaced))
	if len(chosen) < n {
		chosen = append(chosen, p.fromFullest(t.of(classHealthy), n-len(chosen))...)
	}
	chosen = chosen[:min(n, len(chosen))]
	p.leave(chosen, sentence(format, args...))
	return len(chosen)
}

// replacedBy is why an instance leaves.
func replacedBy(r *core.Rollout, revision int) string {
	if r.Phase == core.RolloutRollingBack {
		return sentence("rollout %s goes back to revision %d", r.ID(), revision)
	}
	return sentence("superseded by revision %d", revision)
}

// unsettled reports whether a traffic target that can be reached may still send to what has been taken out of
// the routes: a step counts when all have confirmed it.
func (p *planner) unsettled() bool {
	for i := range p.v.Instances {
		inst := &p.v.Instances[i]
		if inst.Desired != core.DesiredDrain || inst.Status.Phase.Over() || p.v.removed(inst) {
			continue
		}
		for j := range p.v.Routes {
			route := &p.v.Routes[j]
			for _, t := range p.v.carriers(&route.Spec) {
				s := route.status(t)
				if t.Healthy && (s == nil || s.Generation <= inst.Left && s.Generation < route.Generation) {
					return true
				}
			}
		}
	}
	return false
}
