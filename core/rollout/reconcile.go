package rollout

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/instarhq/instar/core"
)

// replaceEnded sees off the instances that can never serve again, and forgets those of which nothing is
// left.
func (p *planner) replaceEnded(roles map[int]role) {
	for i := range p.v.Instances {
		inst := &p.v.Instances[i]
		over := inst.Status.Phase.Over()
		if over && inst.Desired == core.DesiredRun {
			if r, ok := roles[inst.Revision]; ok && !r.hold {
				p.remember(i)
				p.countFailure(inst.Revision)
			}
		}
		switch {
		case inst.Status.Phase == core.InstanceGone, p.v.removed(inst):
			p.out.Forget = append(p.out.Forget, inst.ID)
		case over && inst.Desired != core.DesiredDestroy:
			reason := inst.Status.Phase.String()
			if f := inst.Status.Failure; f != nil {
				reason += ": " + f.Message
			}
			p.destroy(i, reason)
		}
	}
}

// remember keeps what a failed instance of To said for as long as the rollout may need it.
func (p *planner) remember(i int) {
	r := p.running()
	if r == nil || p.v.Instances[i].Revision != r.To {
		return
	}
	if steps := r.Phase == core.RolloutSwitching && stepwise(r); r.Phase >= core.RolloutSwitching && !steps {
		return
	}
	if f := p.told(i); f != nil {
		r.Failure = f
	}
}

// reconcile brings the instances of every revision to what its role asks for.
func (p *planner) reconcile(roles map[int]role) {
	for _, revision := range sortedKeys(p.tallies) {
		if _, ok := roles[revision]; ok {
			continue
		}
		t, reason := p.tally(revision), p.whyGone(revision)
		for _, c := range []class{classHealthy, classReplaced, classBad, classAway, classLost, classPending, classLate, classStranded} {
			p.leave(t.of(c), reason)
		}
	}
	r := p.running()
	if r != nil && stepwise(r) && r.Phase != core.RolloutBaking {
		p.bound(r)
		if r.Phase < core.RolloutSwitching {
			p.prepare(r, roles)
		} else {
			p.advance(r)
		}
		p.noteProgress(r)
		return
	}
	for _, revision := range sortedKeys(roles) {
		if r := roles[revision]; !r.hold {
			p.scale(revision, r.want)
		}
	}
}

// whyGone is the reason why a revision has no role.
func (p *planner) whyGone(revision int) string {
	r := p.rollout
	if r == nil {
		r = p.v.Rollout
	}
	switch {
	case p.service.Deleting:
		return "the service is deleted"
	case r != nil && r.To == revision && r.Phase.Over() && !r.Phase.Good():
		return "rollout " + r.ID() + " " + r.Phase.String()
	}
	return fmt.Sprintf("superseded by revision %d", p.service.Active)
}

// scale brings one revision to want instances. Instances that fail their checks count as missing, but
// stay until another one serves in their place; at most a quarter more than wanted are there at a time.
// Those of nodes that are down count as missing too, and stay as long as nothing serves in their place:
// if the node comes back before, they are used again. Those of unreachable nodes are waited for.
func (p *planner) scale(revision, want int) {
	t := p.tally(revision)
	if late := t.of(classLate); len(late) > 0 {
		p.leave(late, "not healthy in time")
		p.failLate(revision, late)
	}
	p.leaveNode(t.of(classStranded))
	p.replaceServing(t, want)
	bad := t.of(classBad)
	if over := min(t.healthy()+len(bad)-want, len(bad)); over > 0 {
		p.leave(p.longestBad(bad)[:over], "unhealthy")
		if want > 0 {
			p.countFailure(revision)
		}
	}
	lost := t.of(classLost)
	if over := min(t.healthy()+len(lost)-want, len(lost)); over > 0 {
		p.leaveNode(lost[:over])
	}
	coming := t.coming()
	switch {
	case coming > want:
		p.leave(p.victims(t, coming-want), fmt.Sprintf("more than the %d wanted", want))
	case coming < want:
		p.grow(revision, want, coming)
	}
}

// replaceServing sees off those that serve, are to be replaced, and are not needed any more. If several
// are, those whose node is to be empty come last: somebody asked for the others by name.
func (p *planner) replaceServing(t *tally, want int) {
	replaced := slices.SortedStableFunc(slices.Values(t.of(classReplaced)), func(a, b int) int {
		return -cmp.Compare(p.v.Instances[a].Reason, p.v.Instances[b].Reason)
	})
	if over := min(t.healthy()-want, len(replaced)); over > 0 {
		for _, i := range replaced[:over] {
			reason := ""
			if p.v.Instances[i].Reason == "" {
				reason = p.whyAway(i)
			}
			p.leave([]int{i}, reason)
		}
	}
}

func (p *planner) longestBad(bad []int) []int {
	return slices.SortedStableFunc(slices.Values(bad), func(a, b int) int {
		return p.v.Instances[a].Status.Updated.Compare(p.v.Instances[b].Status.Updated)
	})
}

// failLate counts those that did not become healthy in time; one that the operator wants replaced is no failure.
func (p *planner) failLate(revision int, late []int) {
	for _, i := range late {
		if p.v.Instances[i].Reason == "" {
			p.remember(i)
			p.countFailure(revision)
		}
	}
}

// grow asks for the missing instances, now or when the back-off is over.
func (p *planner) grow(revision, want, coming int) {
	t := p.tally(revision)
	if p.room != nil {
		if want = coming + p.room.take(want-coming); want == coming {
			return
		}
	}
	if until, held := p.heldBack(revision); held {
		p.wakeAt(until)
		p.wait("%s replaced at %s%s", plural(want-coming, "instance is", "instances are"), clock(until), p.trouble(revision))
		return
	}
	staying := min(t.healthy()+t.count(classBad)+t.count(classAway), want) + t.count(classPending)
	if n := min(want-coming, want+max(1, want/4)-staying); n > 0 {
		p.out.Create = append(p.out.Create, Create{Revision: revision, Count: n})
	}
}

// victims picks n instances that go because there are too many: first those of unreachable nodes, then
// those that never served, newest first; then the newest of the node that has most of them, again and again.
func (p *planner) victims(t *tally, n int) []int {
	out := slices.SortedFunc(slices.Values(t.of(classAway)), p.newest)
	out = append(out, slices.SortedFunc(slices.Values(t.of(classPending)), p.newest)...)
	if n <= len(out) {
		return out[:n]
	}
	return append(out, p.fromFullest(t.of(classHealthy), n-len(out))...)
}

// fromFullest picks n of the given instances: the newest of the node that has most of them, again and again.
func (p *planner) fromFullest(healthy []int, n int) (out []int) {
	nodes := map[string][]int{}
	for _, i := range slices.SortedFunc(slices.Values(healthy), p.newest) {
		node := p.v.Instances[i].Node
		nodes[node] = append(nodes[node], i)
	}
	names := sortedKeys(nodes)
	for len(out) < n && len(names) > 0 {
		fullest := slices.MaxFunc(names, func(a, b string) int { return cmp.Compare(len(nodes[a]), len(nodes[b])) })
		if len(nodes[fullest]) == 0 {
			break
		}
		out, nodes[fullest] = append(out, nodes[fullest][0]), nodes[fullest][1:]
	}
	return out
}

// newest orders instances by age, the newest first.
func (p *planner) newest(a, b int) int {
	x, y := &p.v.Instances[a], &p.v.Instances[b]
	return cmp.Or(y.Created.Compare(x.Created), cmp.Compare(y.ID, x.ID))
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K {
	keys := make([]K, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
