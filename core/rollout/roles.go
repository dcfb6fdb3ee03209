package rollout

import "github.com/instarhq/instar/core"

// role is what a revision is there for. A revision without one has to go.
type role struct {
	want    int  // instances
	hold    bool // leave its instances as they are: none made, none ended
	pool    bool // has a pool in the routes that it declares
	weight  int
	preview bool
}

// fullWeight is the weight of the one pool that serves.
const fullWeight = 100

// roles says what each revision is there for, after the steps so far.
func (p *planner) roles() map[int]role {
	roles := map[int]role{}
	if p.service.Deleting {
		return roles
	}
	serving := role{want: p.service.Count, pool: true, weight: fullWeight}
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
		roles[r.To] = role{want: p.service.Count, pool: preview, preview: preview}
		if r.From != 0 {
			serving.want = r.FromCount
			roles[r.From] = serving
		}
	case core.RolloutRollingBack:
		roles[r.To] = role{hold: true}
		serving.want = r.FromCount
		roles[r.From] = serving
	default:
		roles[r.To] = serving
		if r.From != 0 {
			roles[r.From] = role{want: r.FromCount, pool: true}
		}
	}
	return roles
}

// previewed reports whether the routes have, or now get, a preview of green: when all of it is healthy,
// and from then on.
func (p *planner) previewed(r *core.Rollout) bool {
	if r.Phase == core.RolloutProvisioning || r.Kind == core.RolloutRollback || p.service.Count == 0 {
		return false
	}
	if p.tally(r.To).count(classHealthy) >= p.service.Count {
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
