package rollout_test

import (
	"maps"
	"slices"
	"time"

	"pgregory.net/rapid"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/rollout"
)

// checkDecision looks at a decision before it is written.
func (m *machine) checkDecision(v *rollout.View, d *rollout.Decision) {
	m.checkI5(v, d)
	for i := range d.Instances {
		old, next := m.instances[d.Instances[i].ID], d.Instances[i]
		order := []core.Desired{core.DesiredRun, core.DesiredDrain, core.DesiredDestroy}
		if slices.Index(order, next.Desired) < slices.Index(order, old.Desired) {
			m.t.Fatalf("%s was wanted to %s and is wanted to %s again", old.ID, old.Desired, next.Desired)
		}
	}
	if why := m.excess(v, d); why != "" {
		m.t.Fatal(why)
	}
	if r := d.Rollout; r != nil && v.Rollout.SwitchedAt.IsZero() && !r.SwitchedAt.IsZero() {
		healthy := 0
		for _, inst := range v.Instances {
			if inst.Revision == r.To && inst.Desired == core.DesiredRun && inst.Status.Healthy {
				healthy++
			}
		}
		needed := v.Service.Count
		if r.Rolling != nil {
			needed = limitsOf(&v.Service, r).first
		}
		if healthy < needed {
			m.t.Fatalf("switched to revision %d with %d of %d instances healthy", r.To, healthy, needed)
		}
		if smoke := m.specs[r.To].Rollout.Smoke; r.Kind == core.RolloutDeploy && len(smoke) > 0 && v.Service.Count > 0 {
			for _, t := range v.Targets {
				if c, ok := m.checks[core.CheckID(r.ID(), t.Node, t.Driver, t.Name)]; t.Healthy && (!ok || c.Failure != "") {
					m.t.Fatalf("switched to revision %d without smoke checks at %s", r.To, t.Node)
				}
			}
		}
	}
}

// checkI5: nothing that lives is destroyed while a reachable data plane can send to it or has requests
// in flight to it; the latter only before the drain deadline.
func (m *machine) checkI5(v *rollout.View, d *rollout.Decision) {
	for i := range d.Instances {
		inst := &d.Instances[i]
		if inst.Desired != core.DesiredDestroy || m.statuses[inst.ID].Phase.Over() || m.instances[inst.ID].Desired == core.DesiredDestroy {
			continue
		}
		late := !m.now.Before(inst.Drain.Add(30 * time.Second))
		for _, t := range v.Targets {
			for name, has := range m.planes[t.Node] {
				if _, stored := m.routes[name]; t.Healthy && stored && has.lists(inst.ID) {
					m.t.Fatalf("I5: %s is destroyed while route %s at %s lists it", inst.ID, name, t.Node)
				}
			}
			if t.Healthy && !late && m.inFlight[t.Node][inst.ID] > 0 && len(m.routes) > 0 {
				m.t.Fatalf("I5: %s is destroyed with requests in flight at %s", inst.ID, t.Node)
			}
		}
	}
}

// served is how many healthy instances each route sends to.
type served map[string]int

func (m *machine) serving() served {
	out := served{}
	for name, route := range m.routes {
		if route.Removed {
			continue
		}
		out[name] = 0
		for _, p := range route.Pools {
			for _, e := range p.Endpoints {
				if p.Weight > 0 && m.up(e.Instance) {
					out[name]++
				}
			}
		}
	}
	return out
}

// up reports whether control may take an instance for one that serves.
func (m *machine) up(id string) bool {
	return m.statuses[id].Healthy && !m.statuses[id].Phase.Over() && m.nodes[m.instances[id].Node].State == rollout.NodeReady
}

// checkI2: what control writes never takes healthy instances out of service below the wanted number.
func (m *machine) checkI2(before served) {
	if m.service == nil || m.service.Deleting {
		return
	}
	wanted := m.service.Count
	if r := m.rollout(); !r.Phase.Over() && r.Phase < core.RolloutSwitching && r.From != 0 {
		wanted = r.FromCount
	}
	if r := m.rollout(); steps(&r) {
		wanted = limitsOf(m.service, &r).floor
	}
	for name, after := range m.serving() {
		if after < min(wanted, before[name]) {
			m.t.Fatalf("I2: route %s sends to %d healthy instances, and sent to %d; %d are wanted (%s)", name, after, before[name], wanted, m.pools(name))
		}
	}
}

// checkStored looks at the objects after every step.
func (m *machine) checkStored() {
	for name, route := range m.routes {
		if route.Generation < m.generation[name] {
			m.t.Fatalf("I7: route %s went from generation %d to %d", name, m.generation[name], route.Generation)
		}
		m.generation[name] = route.Generation
		for _, p := range route.Pools {
			for _, e := range p.Endpoints {
				if !m.verified[e.Instance] {
					m.t.Fatalf("I1: route %s lists %s, which was never healthy", name, e.Instance)
				}
			}
			if p.Weight > 0 && !slices.Contains(m.mayServe(), p.Revision) {
				m.t.Fatalf("I1: route %s sends to revision %d, revisions %v may serve", name, p.Revision, m.mayServe())
			}
		}
	}
	if why := m.misweighed(); why != "" {
		m.t.Fatal(why)
	}
	if m.service == nil {
		m.phases = map[int]core.RolloutPhase{}
		return
	}
	open := 0
	for n, r := range m.rollouts {
		if r.Phase < m.phases[n] && (m.phases[n] != core.RolloutRetiring || r.Phase != core.RolloutSucceeded) {
			m.t.Fatalf("rollout %d went from %s to %s", n, m.phases[n], r.Phase)
		}
		m.phases[n] = r.Phase
		if !r.Phase.Over() {
			open++
		}
	}
	if open > 1 {
		m.t.Fatalf("%d rollouts are in progress", open)
	}
	perRevision := map[int]int{}
	for _, inst := range m.instances {
		if inst.Desired == core.DesiredRun && !m.statuses[inst.ID].Phase.Over() {
			perRevision[inst.Revision]++
		}
	}
	for revision, n := range perRevision {
		if n > 12 {
			m.t.Fatalf("%d instances of revision %d", n, revision)
		}
	}
}

// converge lets the world behave from now on: everything that was begun must come to its end.
func (m *machine) converge() {
	for i := range m.targets {
		m.targets[i].Healthy = true
	}
	m.comeBack()
	clear(m.bad)
	for _, node := range slices.Sorted(maps.Keys(m.inFlight)) {
		clear(m.inFlight[node])
	}
	made := m.created
	if !m.settle(1000 * time.Hour) { // the clock may have been set back
		m.t.Fatalf("does not come to rest: %s (%+v)", m.last.Waiting, m.last)
	}
	if m.service == nil || m.service.Deleting && len(m.stuck()) == len(m.instances) && len(m.routes) == 0 {
		if len(m.instances)-len(m.stuck())+len(m.routes) > 0 {
			m.t.Fatalf("the service is gone, %d instances and %d routes are not", len(m.instances), len(m.routes))
		}
		return
	}
	if r := m.rollout(); !r.Phase.Over() {
		m.t.Fatalf("rollout %d stays %s: %s", r.Number, r.Phase, m.last.Waiting)
	}
	if m.service.Active != m.service.Revision || m.service.Previous != 0 {
		m.t.Fatalf("in the end: %+v", m.service)
	}
	want := m.service.Count
	if m.service.Active == 0 {
		want = 0
	}
	if live := m.live(m.service.Active); len(live) != want || len(m.instances)-len(m.stuck()) != want {
		m.t.Fatalf("%d instances, %d of revision %d, %v stuck, want %d: %s", len(m.instances), len(live), m.service.Active, m.stuck(), want, m.last.Waiting)
	}
	for _, id := range m.live(m.service.Active) {
		if m.nodes[m.instances[id].Node] != (rollout.Node{}) {
			m.t.Fatalf("%s is still on %s, which is %+v", id, m.instances[id].Node, m.nodes[m.instances[id].Node])
		}
	}
	for name, n := range m.serving() {
		if n != want {
			m.t.Fatalf("route %s sends to %d of %d instances", name, n, want)
		}
	}
	// Two revisions of four, each replaced once because it was spoilt, and a quarter more.
	if n := m.created - made; n > 20 {
		m.t.Fatalf("%d instances were made while nothing failed", n)
	}
	if d := m.plan(99); !d.Empty() {
		m.t.Fatalf("at rest, and yet: %+v", d)
	}
}

// comeBack ends what is wrong with the nodes, but for n3, which carries no traffic: it may stay away for
// ever, be removed, or be drained.
func (m *machine) comeBack() {
	for _, name := range []string{"n1", "n2", "n3"} {
		if m.nodes[name].State == rollout.NodeRemoved {
			continue
		}
		m.drain(name, "")
		m.node(name, rollout.NodeReady)
	}
	if m.nodes["n3"].State == rollout.NodeRemoved {
		return
	}
	switch rapid.SampledFrom([]string{"", "down", "drain", "remove"}).Draw(m.t, "n3 stays") {
	case "down":
		m.node("n3", rollout.NodeDown)
	case "drain":
		m.drain("n3", "drained")
	case "remove":
		m.node("n3", rollout.NodeRemoved)
	default:
		delete(m.nodes, "n3")
	}
}

// stuck are the instances that are wanted destroyed on a node that is away.
func (m *machine) stuck() []string {
	var ids []string
	for id, inst := range m.instances {
		if m.nodes[inst.Node].State == rollout.NodeDown && inst.Desired == core.DesiredDestroy {
			ids = append(ids, id)
		}
	}
	return ids
}
