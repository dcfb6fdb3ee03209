package place

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/instarhq/instar/core"
)

// Target is a compute target that could get instances.
type Target struct {
	Key
	Healthy  bool
	Reason   string         // why it is not healthy
	Capacity core.Resources // 0: not known, no limit
}

// Request asks for places for instances of one revision.
type Request struct {
	Service   string
	Revision  int
	Count     int
	Resources core.Resources // of one instance
	Driver    string
	Target    string // the only target's name that will do; empty: any of the driver
}

// Place finds places for the wanted instances, as many as there is room for. If that is not all, why
// says what each target lacks. The ledger is not changed: the caller Sets what it makes use of.
func (l *Ledger) Place(req Request, targets []Target) (places []Key, why string) {
	candidates := l.candidates(req, targets)
	for len(places) < req.Count {
		best := pick(candidates, req.Resources)
		if best == nil {
			return places, refusal(req, len(places), candidates, targets)
		}
		best.used.CPU += req.Resources.CPU
		best.used.Memory += req.Resources.Memory
		best.used.instances++
		*best.group++
		places = append(places, best.target.Key)
	}
	return places, ""
}

// candidate is a target with what would be used of it after the places given so far.
type candidate struct {
	target *Target
	used   usage
	group  *int // instances of the revision on the node, shared by the targets of the node
}

func (l *Ledger) candidates(req Request, targets []Target) []*candidate {
	groups := map[string]*int{}
	var out []*candidate
	for i := range targets {
		t := &targets[i]
		if !t.Healthy || !req.fits(t) {
			continue
		}
		if groups[t.Node] == nil {
			n := l.spread[group{t.Node, req.Service, req.Revision}]
			groups[t.Node] = &n
		}
		out = append(out, &candidate{target: t, used: l.used[t.Key], group: groups[t.Node]})
	}
	return out
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
	return cmp.Or(
		cmp.Compare(*c.group, *o.group),
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

// refusal says why not all instances have a place: "wanted 3, room for 1: n1/local: cpu: …".
func refusal(req Request, placed int, candidates []*candidate, targets []Target) string {
	const most = 5 // targets named
	var causes []string
	for _, c := range candidates {
		causes = append(causes, c.target.String()+": "+c.lacks(req.Resources))
	}
	for i := range targets {
		if t := &targets[i]; !t.Healthy && req.fits(t) {
			causes = append(causes, t.String()+": not healthy: "+t.Reason)
		}
	}
	if len(causes) == 0 {
		what := "driver " + req.Driver
		if req.Target != "" {
			what += ", target " + req.Target
		}
		causes = []string{"no node has " + what}
	}
	if len(causes) > most {
		causes = append(causes[:most], fmt.Sprintf("and %d more", len(causes)-most))
	}
	return fmt.Sprintf("wanted %d, room for %d: %s", req.Count, placed, strings.Join(causes, "; "))
}
