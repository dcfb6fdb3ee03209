package place

import (
	"cmp"
	"fmt"

	"github.com/instarhq/instar/core"
)

// Target is a compute target that could get instances.
type Target struct {
	Key
	Healthy  bool
	Reason   string            // why it is not healthy
	Closed   string            // why its node takes nothing new: "draining"; empty: it does
	Labels   map[string]string // of the node
	Version  string            // of the driver
	Capacity core.Resources    // 0: not known, no limit
}

// Request asks for places for instances of one revision.
type Request struct {
	Service   string
	Revision  int
	Count     int
	Resources core.Resources // of one instance
	Driver    string
	Target    string // the only target's name that will do; empty: any of the driver

	Constraints []core.Constraint
	Spread      []core.Spread
}

// Place finds places for the wanted instances, as many as there is room for. If that is not all, why
// says what each target lacks. The ledger is not changed: the caller Sets what it makes use of.
func (l *Ledger) Place(req Request, targets []Target) (places []Key, why string) {
	candidates := l.candidates(&req, targets)
	for len(places) < req.Count {
		best := pick(candidates, req.Resources)
		if best == nil {
			return places, refusal(&req, len(places), candidates, targets)
		}
		best.used.CPU += req.Resources.CPU
		best.used.Memory += req.Resources.Memory
		best.used.instances++
		for _, group := range best.groups {
			*group++
		}
		places = append(places, best.target.Key)
	}
	return places, ""
}

// candidate is a target with what would be used of it after the places given so far.
type candidate struct {
	target *Target
	used   usage
	// groups are the instances of the revision on nodes that are alike in what they are spread over, and
	// last those on the node itself; shared by the candidates of a group.
	groups []*int
}

func (l *Ledger) candidates(req *Request, targets []Target) []*candidate {
	groups := l.groups(req, targets)
	var out []*candidate
	for i := range targets {
		t := &targets[i]
		if !t.Healthy || !req.fits(t) {
			continue
		}
		if one, _ := req.excluded(t); one != "" {
			continue
		}
		c := &candidate{target: t, used: l.used[t.Key]}
		for j := range req.Spread {
			c.groups = append(c.groups, groups[spreadGroup(req, j, t)])
		}
		out = append(out, c)
		c.groups = append(c.groups, groups[groupKey{level: len(req.Spread), value: t.Node}])
	}
	return out
}

// groupKey names a set of nodes: those with a value of the attribute of a level, or one node.
type groupKey struct {
	level int
	has   bool
	value string
}

func spreadGroup(req *Request, level int, t *Target) groupKey {
	value, has := t.attribute(req.Spread[level].Attribute)
	return groupKey{level, has, value}
}

// groups counts the revision's instances on every set of nodes. Those that nothing may be placed on count
// as well, or instances would gather where others are drained.
func (l *Ledger) groups(req *Request, targets []Target) map[groupKey]*int {
	groups, seen := map[groupKey]*int{}, map[groupKey]map[string]bool{}
	add := func(k groupKey, node string) {
		if groups[k] == nil {
			groups[k], seen[k] = new(int), map[string]bool{}
		}
		if !seen[k][node] { // once, whatever number of targets it has
			seen[k][node] = true
			*groups[k] += l.spread[group{node, req.Service, req.Revision}]
		}
	}
	for i := range targets {
		t := &targets[i]
		for j := range req.Spread {
			add(spreadGroup(req, j, t), t.Node)
		}
		add(groupKey{level: len(req.Spread), value: t.Node}, t.Node)
	}
	return groups
}

// fits reports whether the request is for targets such as t.
func (r *Request) fits(t *Target) bool {
	return t.Driver == r.Driver && (r.Target == "" || r.Target == t.Name)
}

func pick(candidates []*candidate, need core.Resources) *candidate {
	var best *candidate
	for _, c := range candidates {
		if c.lacks(need) == "" && (best == nil || c.compare(best, need) < 0) {
			best = c
		}
	}
	return best
}

func (c *candidate) compare(o *candidate, need core.Resources) int {
	for i := range c.groups {
		if d := cmp.Compare(*c.groups[i], *o.groups[i]); d != 0 {
			return d
		}
	}
	return cmp.Or(
		cmp.Compare(o.free(need), c.free(need)),
		cmp.Compare(c.used.instances, o.used.instances),
		cmp.Compare(c.target.Node, o.target.Node),
		cmp.Compare(c.target.Name, o.target.Name),
	)
}

// free is the share that stays free of what is scarcer after one more instance, 0..1.
func (c *candidate) free(need core.Resources) float64 {
	return min(share(c.target.Capacity.CPU, c.used.CPU+need.CPU), share(c.target.Capacity.Memory, c.used.Memory+need.Memory))
}

func share(capacity, used int64) float64 {
	if capacity <= 0 {
		return 1
	}
	return float64(capacity-used) / float64(capacity)
}

// lacks says what the target has too little of for one more instance; empty: nothing.
func (c *candidate) lacks(need core.Resources) string {
	limit := c.target.Capacity
	switch {
	case need.CPU > 0 && limit.CPU > 0 && c.used.CPU+need.CPU > limit.CPU:
		return fmt.Sprintf("cpu: %d needed, %d of %d free", need.CPU, max(0, limit.CPU-c.used.CPU), limit.CPU)
	case need.Memory > 0 && limit.Memory > 0 && c.used.Memory+need.Memory > limit.Memory:
		return fmt.Sprintf("memory: %s needed, %s of %s free", mib(need.Memory), mib(max(0, limit.Memory-c.used.Memory)), mib(limit.Memory))
	}
	return ""
}

func mib(n int64) string { return fmt.Sprintf("%.4gMiB", float64(n)/(1<<20)) }
