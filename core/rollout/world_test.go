package rollout_test

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/rollout"
)

// world is a store with what is around it: backends that run instances, data planes that carry routes,
// and what agents have reported of both. Nothing happens in it by itself: tests take one step at a
// time, in any order and with any delay. The planner is given nothing but the store's objects.
type world struct {
	now time.Time
	seq uint64
	ids int

	service   *core.Service
	rollouts  map[int]core.Rollout
	specs     map[int]*core.Spec
	bad       map[int]bool // revisions that never become healthy
	instances map[string]core.Instance
	statuses  map[string]core.InstanceStatus
	routes    map[string]core.Route
	reported  map[string]core.RouteStatus // by RouteStatusID
	checks    map[string]core.Check
	targets   []rollout.Target
	hosts     []string // the nodes that instances are made on
	nodes     map[string]rollout.Node
	crashed   map[string]bool // instances that died with their node, which nobody knows yet

	verified map[string]bool             // instances that have been healthy once
	planes   map[string]map[string]plane // by target, by route
	inFlight map[string]map[string]int   // by target, by instance
	created  int                         // instances ever made
	last     rollout.Decision
}

// plane is a route as a data plane has it.
type plane struct {
	generation uint64
	pools      []core.Pool
	removed    bool
}

func newWorld() *world {
	w := &world{
		now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), rollouts: map[int]core.Rollout{}, specs: map[int]*core.Spec{},
		bad: map[int]bool{}, instances: map[string]core.Instance{}, statuses: map[string]core.InstanceStatus{},
		routes: map[string]core.Route{}, reported: map[string]core.RouteStatus{}, checks: map[string]core.Check{},
		verified: map[string]bool{}, planes: map[string]map[string]plane{}, inFlight: map[string]map[string]int{},
		hosts: []string{"n1", "n2"}, nodes: map[string]rollout.Node{}, crashed: map[string]bool{},
	}
	for _, node := range []string{"n1", "n2"} {
		w.targets = append(w.targets, rollout.Target{Node: node, Driver: "proxy", Name: "local", Healthy: true})
		w.planes[node], w.inFlight[node] = map[string]plane{}, map[string]int{}
	}
	return w
}

// specOf is a spec with the given routes.
func specOf(routes ...string) *core.Spec {
	s := &core.Spec{
		Compute: core.Compute{Driver: "process"}, Ports: []core.Port{{Name: "http"}},
		Rollout: core.RolloutSpec{
			Strategy: core.StrategyBlueGreen, Bake: core.Duration(30 * time.Second),
			KeepPrevious: core.Duration(time.Hour), ProgressDeadline: core.Duration(10 * time.Minute),
		},
	}
	for _, name := range routes {
		s.Routes = append(s.Routes, core.RouteSpec{
			Name: name, Driver: "proxy", Listen: ":8080", Protocol: core.ProtocolHTTP, Port: "http", Drain: core.Duration(30 * time.Second),
		})
	}
	return s
}

func (w *world) view() rollout.View {
	v := rollout.View{Seq: w.seq, Service: *w.service, Specs: w.specs, Nodes: maps.Clone(w.nodes)}
	for _, t := range w.targets {
		if t.Healthy && !w.reachable(&t) {
			t.Healthy, t.Reason = false, "the node is away"
		}
		if w.nodes[t.Node].State != rollout.NodeRemoved {
			v.Targets = append(v.Targets, t)
		}
	}
	if r, ok := w.rollouts[w.service.Rollouts]; ok {
		v.Rollout = &r
	}
	for _, id := range slices.Sorted(maps.Keys(w.instances)) {
		v.Instances = append(v.Instances, rollout.Instance{Instance: w.instances[id], Status: w.statuses[id]})
	}
	for _, name := range slices.Sorted(maps.Keys(w.routes)) {
		r := rollout.Route{Route: w.routes[name]}
		for _, id := range slices.Sorted(maps.Keys(w.reported)) {
			if w.reported[id].Route == name {
				r.Statuses = append(r.Statuses, w.reported[id])
			}
		}
		v.Routes = append(v.Routes, r)
	}
	for _, id := range slices.Sorted(maps.Keys(w.checks)) {
		v.Checks = append(v.Checks, w.checks[id])
	}
	return v
}

// change writes an operator's change.
func (w *world) change(c rollout.Change) {
	w.seq++
	w.service = &c.Service
	for _, r := range []*core.Rollout{c.Ended, c.Begun} {
		if r != nil {
			w.rollouts[r.Number] = *r
		}
	}
}

// apply begins a rollout to a revision, without the planner's next step.
func (w *world) apply(to, count int) error {
	if w.service == nil {
		w.service = &core.Service{Format: core.Format, Name: "web"}
	}
	w.service.Revisions = max(w.service.Revisions, to)
	c, err := rollout.Begin(w.view(), rollout.Start{To: to, Count: count, Kind: core.RolloutDeploy, Reason: "apply"}, w.now)
	if err == nil {
		w.change(c)
	}
	return err
}

// plan lets control act once; of the instances to write or make only the first most are, as when the
// transaction is full or the process dies.
func (w *world) plan(most int) rollout.Decision {
	w.last = rollout.Decision{}
	if w.service != nil {
		w.last = rollout.Plan(w.view(), w.now)
		w.write(w.last, most)
	}
	return w.last
}

func (w *world) write(d rollout.Decision, most int) {
	if d.Empty() {
		return
	}
	w.seq++
	if d.Service != nil {
		w.service = d.Service
	}
	if d.Rollout != nil {
		w.rollouts[d.Rollout.Number] = *d.Rollout
	}
	for _, r := range d.Routes {
		w.routes[r.Name] = r
	}
	for _, name := range d.RemoveRoutes {
		delete(w.routes, name)
		maps.DeleteFunc(w.reported, func(_ string, s core.RouteStatus) bool { return s.Route == name })
	}
	for i := range min(most, len(d.Instances)) {
		w.instances[d.Instances[i].ID] = d.Instances[i]
	}
	for _, id := range d.Forget {
		delete(w.instances, id)
		delete(w.statuses, id)
	}
	for _, c := range d.Create {
		for range min(most, c.Count) {
			w.create(c.Revision)
		}
	}
	if d.RemoveService {
		w.service, w.rollouts, w.checks = nil, map[int]core.Rollout{}, map[string]core.Check{}
	}
}

// create makes an instance on one of the nodes that take any; there may be none.
func (w *world) create(revision int) {
	var nodes []string
	for _, node := range w.hosts {
		if w.nodes[node] == (rollout.Node{}) {
			nodes = append(nodes, node)
		}
	}
	if len(nodes) == 0 {
		return
	}
	w.ids++
	w.created++
	id := fmt.Sprintf("web-%04d", w.ids)
	w.instances[id] = core.Instance{
		Format: core.Format, ID: id, Service: "web", Revision: revision, Node: nodes[w.ids%len(nodes)],
		Driver: "process", Target: "local", Desired: core.DesiredRun, Created: w.now,
	}
}

// report writes what an agent has seen of an instance.
func (w *world) report(id string, edit func(*core.InstanceStatus)) {
	s := w.statuses[id]
	s.Format, s.ID, s.Service, s.Node = core.Format, id, "web", w.instances[id].Node
	edit(&s)
	s.Updated = w.now
	s.Verified = s.Verified || s.Healthy
	w.seq++
	w.statuses[id] = s
	if s.Healthy {
		w.verified[id] = true
	}
}

func (w *world) runs(id string) {
	w.report(id, func(s *core.InstanceStatus) {
		s.Phase, s.Addresses = core.InstanceRunning, map[string]string{"http": "127.0.0.1:" + id[4:]}
	})
}

func (w *world) healthy(id string, is bool) {
	w.report(id, func(s *core.InstanceStatus) {
		s.Healthy, s.HealthySince, s.Unhealthy = is, w.now, ""
		if !is {
			s.HealthySince, s.Unhealthy = time.Time{}, "GET /healthz 503"
		}
	})
}

func (w *world) ends(id string, phase core.InstancePhase) {
	w.report(id, func(s *core.InstanceStatus) {
		s.Phase, s.Healthy, s.Failure = phase, false, &core.Failure{Message: "exited with status 1"}
	})
}

// step lets the agent of an instance do what is to be done next, if all goes well.
func (w *world) step(id string) bool {
	inst, s := w.instances[id], w.statuses[id]
	switch {
	case s.Phase == core.InstanceGone, w.nodes[inst.Node].State != rollout.NodeReady:
		return false
	case inst.Desired == core.DesiredDestroy:
		w.report(id, func(s *core.InstanceStatus) { s.Phase, s.Healthy = core.InstanceGone, false })
	case s.Phase.Over() || inst.Desired == core.DesiredDrain:
		return false
	case s.Phase < core.InstanceRunning:
		w.runs(id)
	case !s.Healthy && !w.bad[inst.Revision]:
		w.healthy(id, true)
	default:
		return false
	}
	return true
}

// reachable reports whether a traffic target does what it is told.
func (w *world) reachable(t *rollout.Target) bool {
	return t.Healthy && w.nodes[t.Node].State == rollout.NodeReady
}

// node lets a node come to a state. One that comes back has been told what has become of its instances
// before it counts as ready.
func (w *world) node(name string, s rollout.NodeState) {
	n := w.nodes[name]
	n.State, n.Since = s, "away since noon"
	if s == rollout.NodeReady {
		n.Since = ""
	}
	w.nodes[name] = n
	if s != rollout.NodeReady {
		return
	}
	for _, id := range slices.Sorted(maps.Keys(w.instances)) {
		if w.instances[id].Node == name && w.crashed[id] && !w.statuses[id].Phase.Over() {
			w.ends(id, core.InstanceLost)
		}
	}
}

// crash ends everything that runs on a node, without a word.
func (w *world) crash(name string) {
	for id, inst := range w.instances {
		if inst.Node == name && w.statuses[id].Phase >= core.InstanceRunning {
			w.crashed[id] = true
		}
	}
}

// drain has a node emptied, or not any more.
func (w *world) drain(name, why string) {
	n := w.nodes[name]
	n.Leave = why
	w.nodes[name] = n
}

// applyRoute brings a route into effect at a target, if it can be reached.
func (w *world) applyRoute(t *rollout.Target, name string) bool {
	route, ok := w.routes[name]
	if !ok || !w.reachable(t) || w.planes[t.Node][name].generation >= route.Generation {
		return false
	}
	w.planes[t.Node][name] = plane{route.Generation, route.Pools, route.Removed}
	return true
}

// reportRoute writes what a target has in effect.
func (w *world) reportRoute(t *rollout.Target, name string) bool {
	has, ok := w.planes[t.Node][name]
	if _, stored := w.routes[name]; !ok || !stored || !w.reachable(t) {
		return false
	}
	id := core.RouteStatusID(name, t.Node, t.Name)
	next := core.RouteStatus{
		Format: core.Format, Route: name, Node: t.Node, Driver: t.Driver, Target: t.Name, Generation: has.generation, Removed: has.removed,
	}
	for _, inst := range slices.Sorted(maps.Keys(w.instances)) {
		if w.instances[inst].Desired == core.DesiredDrain && !has.lists(inst) && w.inFlight[t.Node][inst] == 0 {
			next.Quiet = append(next.Quiet, inst)
		}
	}
	old := w.reported[id]
	if old.Generation == next.Generation && slices.Equal(old.Quiet, next.Quiet) && old.Removed == next.Removed {
		return false
	}
	w.seq++
	w.reported[id] = next
	return true
}

func (p *plane) lists(instance string) bool {
	return slices.ContainsFunc(p.pools, func(pool core.Pool) bool {
		return slices.ContainsFunc(pool.Endpoints, func(e core.Endpoint) bool { return e.Instance == instance })
	})
}

// smoke writes the outcome of the smoke checks at a target, if it is time for them.
func (w *world) smoke(t *rollout.Target, failure string) bool {
	if w.service == nil {
		return false
	}
	r, ok := w.rollouts[w.service.Rollouts]
	if !ok || r.Phase != core.RolloutVerifying || !w.reachable(t) || len(w.specs[r.To].Rollout.Smoke) == 0 {
		return false
	}
	name := w.specs[r.To].Rollout.Smoke[0].Route
	id := core.CheckID(r.ID(), t.Node, t.Driver, t.Name)
	_, done := w.checks[id]
	has := w.planes[t.Node][name]
	if done || has.generation != w.routes[name].Generation || !slices.ContainsFunc(has.pools, func(p core.Pool) bool { return p.Revision == r.To && p.Preview }) {
		return false
	}
	w.seq++
	w.checks[id] = core.Check{Format: core.Format, Rollout: r.ID(), Service: "web", Node: t.Node, Driver: t.Driver, Target: t.Name, Passed: 1, Total: 1, Failure: failure, At: w.now}
	return true
}

// behave lets everything around control do all that is to be done, once; false if that was nothing.
func (w *world) behave() bool {
	did := false
	for _, id := range slices.Sorted(maps.Keys(w.instances)) {
		did = w.step(id) || did
	}
	for i := range w.targets {
		t := &w.targets[i]
		for _, name := range slices.Sorted(maps.Keys(w.routes)) {
			did = w.applyRoute(t, name) || did
			did = w.reportRoute(t, name) || did
		}
		did = w.smoke(t, "") || did
	}
	return did
}

// settle lets control and a world without faults act until nothing happens any more, and time jumps to
// when control wants to look again, for at most limit of it. It reports whether it came to an end.
func (w *world) settle(limit time.Duration) bool {
	end := w.now.Add(limit)
	for range 2000 {
		d := w.plan(1 << 30)
		if w.behave() || !d.Empty() {
			continue
		}
		if w.service == nil || d.Wake.IsZero() || d.Wake.After(end) {
			return true
		}
		w.now = d.Wake
	}
	return false
}

// rollout is the newest rollout.
func (w *world) rollout() core.Rollout { return w.rollouts[w.service.Rollouts] }

// live are the instances of a revision that are wanted to run, sorted.
func (w *world) live(revision int) []string {
	var ids []string
	for id, inst := range w.instances {
		if inst.Revision == revision && inst.Desired == core.DesiredRun {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// pools writes a route's pools briefly: "1:100[01 02] 2:0p[]"; p marks a preview.
func (w *world) pools(route string) string {
	out := ""
	r := w.routes[route]
	if r.Removed {
		return "removed"
	}
	for i, p := range r.Pools {
		ids := []string{}
		for _, e := range p.Endpoints {
			ids = append(ids, e.Instance[6:])
		}
		preview := ""
		if p.Preview {
			preview = "p"
		}
		if i > 0 {
			out += " "
		}
		out += fmt.Sprintf("%d:%d%s%v", p.Revision, p.Weight, preview, ids)
	}
	return cmp.Or(out, "none")
}
