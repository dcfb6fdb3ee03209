package rollout

import "github.com/instarhq/instar/core"

// role is what a revision is there for. A revision without one has to go.
type role struct {
	want    int  // instances
	hold    bool // leave its instances as they are: none made, none ended
	pool    bool // has a pool in the routes that it declares
	serves  bool // which gets requests
	preview bool
}

// roles says what each revision is there for, after the steps so far.
func (p *planner) roles() map[int]role {
	roles := map[int]role{}
	if p.service.Deleting {
		return roles
	}
	serving := role{want: p.service.Count, pool: true, serves: true}
	r := p.running()
	if r == nil {
		if p.service.Active != 0 {
			roles[p.service.Active] = serving
		}
		return roles
	}
	switch r.Phase {
	case core.RolloutProvisioning, core.RolloutVerifying, core.RolloutApproving:
		preview := p.previewed(r)
		roles[r.To] = role{want: p.firstWanted(r), pool: preview, preview: preview}
		p.before(r, roles)
	case core.RolloutRollingBack:
		serving.want = r.FromCount
		roles[r.From] = serving
		if stepwise(r) {
			p.leaving(r, roles)
		} else {
			roles[r.To] = role{hold: true}
		}
	case core.RolloutSwitching:
		roles[r.To] = serving
		if stepwise(r) {
			p.leaving(r, roles)
		} else if r.From != 0 {
			roles[r.From] = role{want: r.FromCount, pool: true}
		}
	default:
		roles[r.To] = serving
		if r.From != 0 && r.Rolling == nil {
			roles[r.From] = role{want: r.FromCount, pool: true}
		}
	}
	return roles
}

// before gives their roles to the revisions that serve until the switch: From has as many instances as the
// others lack.
func (p *planner) before(r *core.Rollout, roles map[int]role) {
	if r.From == 0 {
		return
	}
	want := r.FromCount - p.makesWay(r)
	for _, revision := range r.Others {
		roles[revision] = role{hold: true, pool: true, serves: true}
		want -= p.tally(revision).healthy()
	}
	roles[r.From] = role{want: max(want, 0), pool: true, serves: true}
}

// leaving gives their roles to the revisions that are replaced step by step.
func (p *planner) leaving(r *core.Rollout, roles map[int]role) {
	for _, revision := range olds(r) {
		roles[revision] = role{hold: true, pool: true, serves: true}
	}
}

// previewed reports whether the routes have, or now get, a preview of green: when all of it is healthy,
// or its first batch, and from then on.
func (p *planner) previewed(r *core.Rollout) bool {
	if r.Phase == core.RolloutProvisioning || r.Kind == core.RolloutRollback || p.service.Count == 0 {
		return false
	}
	if p.tally(r.To).count(classHealthy) >= p.first(r) {
		return true
	}
	for i := range p.v.Routes {
		for _, pool := range p.v.Routes[i].Pools {
			if pool.Revision == r.To {
				return true
			}
		}
	}
	return false
}
