package rollout_test

import (
	"slices"
	"strconv"
	"strings"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/rollout"
)

// limits are what a rollout that goes step by step may do, worked out from the design and not as the planner
// does: how many instances may be alive for more to be made, how many healthy ones serve at least, and how
// many of To are verified before the switch.
type limits struct{ ceiling, floor, first int }

func limitsOf(s *core.Service, r *core.Rollout) limits {
	number := func(b core.Bound, of, round int) int {
		text, share := strings.CutSuffix(string(b), "%")
		n, _ := strconv.Atoi(text)
		if share {
			n = (n*of + round) / 100
		}
		return n
	}
	bounds := r.Rolling
	if bounds == nil {
		bounds = &core.Rolling{MaxSurge: "25%"}
	}
	most, least := max(s.Count, r.FromCount), min(s.Count, r.FromCount)
	surge, unavailable := number(bounds.MaxSurge, most, 99), number(bounds.MaxUnavailable, least, 0)
	if surge == 0 {
		unavailable = max(unavailable, 1)
	}
	first := surge
	if surge == 0 {
		first = unavailable
	}
	return limits{most + surge, least - unavailable, min(first, s.Count)}
}

// steps reports whether a rollout is one that replaces instances step by step now.
func steps(r *core.Rollout) bool {
	switch r.Phase {
	case core.RolloutProvisioning, core.RolloutVerifying, core.RolloutSwitching:
		return r.Rolling != nil
	case core.RolloutRollingBack:
		return r.Rolling != nil || r.SwitchedAt.IsZero()
	}
	return false
}

// alive counts the instances that may run.
func (w *world) alive() int {
	n := 0
	for id, inst := range w.instances {
		if !w.statuses[id].Phase.Over() && w.nodes[inst.Node].State < rollout.NodeDown {
			n++
		}
	}
	return n
}

// mayServe are the revisions that a route may send to.
func (w *world) mayServe() []int {
	r := w.rollout()
	out := []int{w.service.Active}
	switch {
	case w.service.Deleting && (r.Rolling != nil || len(r.Others) > 0):
		out = append(append(out, r.From, r.To), r.Others...) // until the planner has taken its routes away
	case r.Phase.Over():
	case r.Phase < core.RolloutSwitching:
		out = append(out, r.Others...)
	case steps(&r):
		out = append(append(out, r.From), r.Others...)
		if !r.SwitchedAt.IsZero() {
			out = append(out, r.To)
		}
	}
	return out
}

// excess says how what control writes breaks the surge; empty: not at all.
func (w *world) excess(v *rollout.View, d *rollout.Decision) string {
	r, s, made := v.Rollout, &v.Service, 0
	if d.Rollout != nil {
		r = d.Rollout
	}
	if d.Service != nil {
		s = d.Service
	}
	if r == nil || !steps(r) {
		return ""
	}
	for _, c := range d.Create {
		made += c.Count
	}
	if l, alive := limitsOf(s, r), w.alive(); made > 0 && alive+made > l.ceiling {
		return strings.Join([]string{strconv.Itoa(made), "are made while", strconv.Itoa(alive), "are alive:", strconv.Itoa(l.ceiling), "may be"}, " ")
	}
	return ""
}

// misweighed says which route does not share its requests by the numbers of endpoints; empty: none.
func (w *world) misweighed() string {
	for name, route := range w.routes {
		serving := slices.DeleteFunc(slices.Clone(route.Pools), func(p core.Pool) bool { return p.Weight == 0 })
		for _, p := range serving {
			if len(serving) > 1 && p.Weight != len(p.Endpoints) {
				return name + ": " + w.pools(name)
			}
		}
	}
	return ""
}
