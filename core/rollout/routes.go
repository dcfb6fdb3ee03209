package rollout

import (
	"reflect"
	"slices"
	"time"

	"github.com/instarhq/instar/core"
)

// planRoutes writes the routes that are not as they should be, and lets go of those that no data plane
// has any more.
func (p *planner) planRoutes(roles map[int]role) {
	wanted := p.wantedRoutes(roles)
	for _, name := range sortedKeys(wanted) {
		old, route := p.stored(name), wanted[name]
		under := old != nil && p.under(old.Generation)
		if old != nil && !under && sameRoute(&old.Route, &route) {
			continue
		}
		if under && p.held(roles) {
			continue
		}
		route.Generation = max(p.v.Seq, p.v.Floor)
		if old != nil {
			route.Generation = max(route.Generation, old.Generation)
			p.noteLeaving(&old.Route, &route)
		}
		route.Generation++
		p.out.Routes = append(p.out.Routes, route)
	}
	for i := range p.v.Routes {
		route := &p.v.Routes[i]
		if route.Removed && wanted[route.Name].Removed && p.lags(route) == "" && !p.draining() && p.nowhere(route) {
			p.out.RemoveRoutes = append(p.out.RemoveRoutes, route.Name)
		}
	}
}

// under reports whether a route's generation is from before a restore.
func (p *planner) under(generation uint64) bool { return p.v.Floor > 0 && generation <= p.v.Floor }

// held reports whether routes from before a restore stay as they are for now.
func (p *planner) held(roles map[int]role) bool {
	if !p.now.Before(p.v.Hold) {
		return false
	}
	healthy, want := 0, 0
	for revision, r := range roles {
		if r.serves {
			healthy, want = healthy+p.tally(revision).healthy(), want+r.want
		}
	}
	if healthy >= want {
		return false
	}
	p.wait("traffic stays where it is until %d of %d instances of revision %d are healthy, or %s",
		want, want, p.service.Active, p.v.Hold.Format(time.TimeOnly))
	p.wakeAt(p.v.Hold)
	return true
}

func (p *planner) stored(name string) *Route {
	i, found := slices.BinarySearchFunc(p.v.Routes, name, func(r Route, n string) int {
		switch {
		case r.Name < n:
			return -1
		case r.Name > n:
			return 1
		}
		return 0
	})
	if !found {
		return nil
	}
	return &p.v.Routes[i]
}

// wantedRoutes is every route as it should be, without its generation: those that a revision with a
// pool declares, and the stored others, removed.
func (p *planner) wantedRoutes(roles map[int]role) map[string]core.Route {
	wanted := map[string]core.Route{}
	serving := p.service.Active // whose declaration of a route counts
	desperate := !p.anyServes(roles)
	for _, revision := range sortedKeys(roles) {
		r := roles[revision]
		if !r.pool {
			continue
		}
		for i := range p.v.spec(revision).Routes {
			spec := &p.v.spec(revision).Routes[i]
			route, found := wanted[spec.Name]
			if !found {
				if revision != serving && !r.preview && p.v.declares(serving, spec.Name) == nil {
					continue // the warm revision alone declares it: it comes back if that does
				}
				route = core.Route{Format: core.Format, Name: spec.Name, Service: p.service.Name, Spec: *spec}
			}
			if revision == serving {
				route.Spec = *spec
			}
			route.Pools = append(route.Pools, core.Pool{
				Revision: revision, Preview: r.preview, Endpoints: p.endpoints(revision, r.serves && desperate, spec),
			})
			wanted[spec.Name] = route
		}
	}
	for name, route := range wanted {
		route.Pools = p.weigh(route.Pools, roles)
		wanted[name] = route
	}
	for i := range p.v.Routes {
		route := p.v.Routes[i].Route
		if _, found := wanted[route.Name]; !found {
			route.Pools, route.Removed = nil, true
			wanted[route.Name] = route
		}
	}
	return wanted
}

// fullWeight is the weight of a pool that serves alone.
const fullWeight = 100

// weigh gives the pools that serve their weights. If several have endpoints, each counts as much as it has.
func (p *planner) weigh(pools []core.Pool, roles map[int]role) []core.Pool {
	several := 0
	for i := range pools {
		if r := roles[pools[i].Revision]; r.serves && (len(pools[i].Endpoints) > 0) {
			several++
		}
	}
	var out []core.Pool
	for _, pool := range pools {
		switch n := len(pool.Endpoints); {
		case !roles[pool.Revision].serves:
		case several > 1:
			pool.Weight = n
		case several == 1 && n > 0, several == 0 && pool.Revision == p.service.Active:
			pool.Weight = fullWeight
		}
		if pool.Weight > 0 || !roles[pool.Revision].serves {
			out = append(out, pool)
		}
	}
	return out
}

// anyServes reports whether a healthy instance of any revision that serves stays.
func (p *planner) anyServes(roles map[int]role) bool {
	for revision, r := range roles {
		if r.serves && len(p.staying(revision)) > 0 {
			return true
		}
	}
	return false
}

// staying are the healthy instances of a revision that are not on their way out.
func (p *planner) staying(revision int) []int {
	t := p.tally(revision)
	return slices.DeleteFunc(slices.Concat(t.of(classHealthy), t.of(classReplaced)), p.isLeaving)
}

// endpoints lists the instances of a pool: the healthy ones; if none serves at all, those that once were
// healthy, and perhaps only cannot be reached from here.
func (p *planner) endpoints(revision int, desperate bool, spec *core.RouteSpec) []core.Endpoint {
	t, members := p.tally(revision), p.staying(revision)
	if desperate {
		members = slices.DeleteFunc(slices.Concat(t.of(classBad), t.of(classAway), t.of(classLost)), p.isLeaving)
	}
	slices.Sort(members)
	var out []core.Endpoint
	for _, i := range members {
		if address := p.v.Instances[i].Status.Addresses[spec.Port]; address != "" {
			out = append(out, core.Endpoint{Instance: p.v.Instances[i].ID, Address: address})
		}
	}
	return out
}

func (p *planner) isLeaving(i int) bool {
	inst, changed := p.changed[i]
	return changed && inst.Desired != core.DesiredRun
}

// noteLeaving remembers which instances leave a route, where neither their status nor their way out
// tells that they were in one.
func (p *planner) noteLeaving(old, next *core.Route) {
	stays := map[string]bool{}
	for _, pool := range next.Pools {
		for _, e := range pool.Endpoints {
			stays[e.Instance] = true
		}
	}
	for _, pool := range old.Pools {
		for _, e := range pool.Endpoints {
			i, found := p.find(e.Instance)
			if !found || stays[e.Instance] || p.v.Instances[i].Status.Phase.Over() || p.v.removed(&p.v.Instances[i]) {
				continue
			}
			inst := p.current(i)
			known := inst.Desired == core.DesiredRun && p.v.Instances[i].Status.Verified
			if h := p.horizon(); !known && inst.Left < h && inst.Desired != core.DesiredDestroy {
				inst.Left = h
				p.changed[i] = inst
			}
		}
	}
}

func (p *planner) find(id string) (int, bool) {
	return slices.BinarySearchFunc(p.v.Instances, id, func(inst Instance, id string) int {
		switch {
		case inst.ID < id:
			return -1
		case inst.ID > id:
			return 1
		}
		return 0
	})
}

// draining reports whether an instance is on its way out, before or after this Plan.
func (p *planner) draining() bool {
	for i := range p.v.Instances {
		if p.current(i).Desired == core.DesiredDrain {
			return true
		}
	}
	return false
}

// sameRoute compares everything but the generation.
func sameRoute(a, b *core.Route) bool {
	x, y := *a, *b
	x.Generation, y.Generation = 0, 0
	x.Pools, y.Pools = nil, nil
	return reflect.DeepEqual(x, y) && slices.EqualFunc(a.Pools, b.Pools, func(p, q core.Pool) bool {
		return p.Revision == q.Revision && p.Weight == q.Weight && p.Preview == q.Preview && slices.Equal(p.Endpoints, q.Endpoints)
	})
}

// unconfirmed says what the data planes still lack of the routes as they should be; empty: nothing.
func (p *planner) unconfirmed() string {
	wanted := p.wantedRoutes(p.roles())
	for _, name := range sortedKeys(wanted) {
		old, route := p.stored(name), wanted[name]
		if old == nil || p.under(old.Generation) || !sameRoute(&old.Route, &route) {
			return "route " + name + " is being written"
		}
		if lag := p.lags(old); lag != "" {
			return lag
		}
	}
	return ""
}

// lags says where a stored route is not in effect yet; empty: at every healthy target that carries it.
func (p *planner) lags(route *Route) string {
	healthy, sick := 0, ""
	for _, t := range p.v.carriers(&route.Spec) {
		if !t.Healthy {
			sick = " (" + t.Node + "/" + t.Name + ": " + t.Reason + ")"
			continue
		}
		healthy++
		s := route.status(t)
		if s == nil || s.Generation < route.Generation || s.Removed != route.Removed {
			return "route " + route.Name + " is not in effect yet at " + t.Node + "/" + t.Name + failure(s)
		}
	}
	if healthy == 0 && !route.Removed {
		return "route " + route.Name + " has no healthy traffic target of driver " + route.Spec.Driver + sick
	}
	return ""
}

// nowhere reports whether no data plane can have a removed route any more, also of those targets that
// cannot be reached now: when they can be again, they may still send. That matters while there are
// instances to send to.
func (p *planner) nowhere(route *Route) bool {
	if len(p.v.Instances) == 0 {
		return true
	}
	for _, t := range p.v.carriers(&route.Spec) {
		if s := route.status(t); s == nil || s.Generation < route.Generation || !s.Removed {
			return false
		}
	}
	return true
}

// finishDelete ends a service of which nothing is left.
func (p *planner) finishDelete() {
	if !p.service.Deleting {
		return
	}
	for i := range p.v.Routes {
		if lag := p.lags(&p.v.Routes[i]); lag != "" {
			p.wait("%s", lag)
		}
	}
	if n := len(p.v.Instances); n > 0 {
		p.wait("%s to go%s", plural(n, "instance has", "instances have"), p.stuck())
	}
	p.out.RemoveService = len(p.v.Instances) == 0 && len(p.v.Routes) == 0
}
