package rollout

import (
	"time"

	"github.com/instarhq/instar/core"
)

// class is what an instance that is wanted to run is worth.
type class int

const (
	classEnding   class = iota // not wanted to run any more
	classOver                  // failed, lost or gone: can never serve again
	classRemoved               // its node is no member any more
	classHealthy               // serves, or could
	classReplaced              // serves, and the operator wants another one in its place
	classBad                   // once was healthy and is not
	classAway                  // once was healthy, and its node is unreachable: it may be back any moment
	classLost                  // once was healthy, and its node is down, or unreachable and to be empty
	classPending               // on its way to healthy
	classLate                  // never became healthy within the progress deadline, or is to be replaced and does not serve
	classStranded              // never was healthy, and its node is down or to be empty
)

// tally sorts the instances of one revision, as indexes into View.Instances.
type tally struct {
	classes map[class][]int
	run     int // how many that are wanted to run are running
}

func (t *tally) of(c class) []int { return t.classes[c] }
func (t *tally) count(c class) int {
	return len(t.classes[c])
}

// healthy is how many serve or could.
func (t *tally) healthy() int { return t.count(classHealthy) + t.count(classReplaced) }

// coming is how many serve or will, without those that are to be replaced.
func (t *tally) coming() int {
	return t.count(classHealthy) + t.count(classPending) + t.count(classAway)
}

// tally returns that of a revision, never nil.
func (p *planner) tally(revision int) *tally {
	t := p.tallies[revision]
	if t == nil {
		t = &tally{classes: map[class][]int{}}
		p.tallies[revision] = t
	}
	return t
}

func (p *planner) classify() {
	for i := range p.v.Instances {
		inst := &p.v.Instances[i]
		t := p.tally(inst.Revision)
		c := p.classOf(inst)
		t.classes[c] = append(t.classes[c], i)
		switch c {
		case classEnding, classOver, classRemoved, classLost, classStranded:
			continue
		}
		if inst.Status.Phase >= core.InstanceRunning {
			t.run++
		}
	}
}

func (p *planner) classOf(inst *Instance) class {
	late := inst.Created.Add(progressDeadline(p.v.spec(inst.Revision)))
	_, listed := p.listed[inst.ID]
	served := inst.Status.Verified || inst.Left != 0 || listed
	node := p.v.node(&inst.Instance)
	switch {
	case inst.Desired != core.DesiredRun:
		return classEnding
	case inst.Status.Phase.Over():
		return classOver
	case node.State == NodeRemoved:
		return classRemoved
	case p.serves(inst) && (inst.Reason != "" || node.Leave != ""):
		return classReplaced
	case p.serves(inst):
		return classHealthy
	case node.State == NodeDown, node.Leave != "" && (node.State == NodeUnreachable || !served):
		if served {
			return classLost
		}
		return classStranded
	case inst.Reason != "":
		return classLate
	case served && node.State == NodeUnreachable:
		return classAway
	case served:
		return classBad
	case !p.now.Before(late):
		return classLate
	}
	p.wakeAt(late)
	return classPending
}

// serves reports whether an instance is healthy, as somebody watches, and has an address for every route
// of its revision.
func (p *planner) serves(inst *Instance) bool {
	if p.v.node(&inst.Instance).State != NodeReady || !inst.Status.Healthy || inst.Status.Phase < core.InstanceRunning || inst.Status.Phase.Over() {
		return false
	}
	routes := p.v.spec(inst.Revision).Routes
	for i := range routes {
		if inst.Status.Addresses[routes[i].Port] == "" {
			return false
		}
	}
	return true
}

// The first failure of a wave delays the replacement by minDelay; each further wave doubles that.
const (
	minDelay    = time.Second
	maxDelay    = 5 * time.Minute
	forgetAfter = 10 * time.Minute
)

// backoff is that of a revision, nil if it has none.
func (p *planner) backoff(revision int) *core.Backoff {
	if b := p.service.Backoff; b != nil && b.Revision == revision {
		return b
	}
	if r := p.running(); r != nil && r.Backoff != nil && r.Backoff.Revision == revision {
		return r.Backoff
	}
	return nil
}

// heldBack tells until when no instance of the revision is created. A time further away than any delay
// is the work of a clock that has been set back, and holds nothing.
func (p *planner) heldBack(revision int) (until time.Time, held bool) {
	b := p.backoff(revision)
	if b == nil || !p.now.Before(b.Until) || b.Until.Sub(p.now) > maxDelay {
		return time.Time{}, false
	}
	return b.Until, true
}

// countFailure makes the next creation of the revision wait. All failures that one Plan sees, and those
// that come while it waits already, are one wave.
func (p *planner) countFailure(revision int) {
	if p.counted[revision] {
		return
	}
	p.counted[revision] = true
	if _, held := p.heldBack(revision); held {
		return
	}
	next := &core.Backoff{Revision: revision, Failures: 1}
	if b := p.backoff(revision); b != nil && !p.now.After(b.Until.Add(forgetAfter)) {
		next.Failures = b.Failures + 1
	}
	delay := maxDelay
	if shift := next.Failures - 1; shift < 9 {
		delay = min(maxDelay, minDelay<<shift)
	}
	next.Until = p.now.Add(delay)
	switch r := p.running(); {
	case revision == p.service.Active:
		p.service.Backoff = next
	case r != nil:
		r.Backoff = next
	}
}
