package rollout_test

import (
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/rollout"
)

// TestInvariants drives the planner through anything that can happen, in any order: instances that
// fail, flap or are lost, traffic targets that are away or late, operators at any time, jumps of the
// clock, decisions that are written in part. After every step I1, I2 and I5 hold, and what only may go
// forward does. In the end the world behaves: then every rollout ends and the instances are those that
// are wanted, after a bounded number of creations.
func TestInvariants(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := &machine{world: newWorld(), t: rt}
		m.hosts = append(m.hosts, "n3")
		m.declare()
		rt.Repeat(map[string]func(*rapid.T){
			"":              func(*rapid.T) { m.checkStored() },
			"control":       m.control,
			"control again": m.control,
			"agent":         m.agent,
			"agents":        func(*rapid.T) { m.behave() },
			"fault":         m.fault,
			"traffic":       m.traffic,
			"requests":      m.requests,
			"outage":        m.outage,
			"node":          m.anyNode,
			"time":          m.time,
			"operator":      m.operator,
		})
		m.converge()
	})
}

// machine is a world under random treatment.
type machine struct {
	*world
	t          *rapid.T
	generation map[string]uint64
	phases     map[int]core.RolloutPhase

	floorBefore int // the least that might serve before a rollout went back
}

func (m *machine) declare() {
	m.generation, m.phases = map[string]uint64{}, map[int]core.RolloutPhase{}
	for n := 1; n <= 5; n++ {
		routes := rapid.SampledFrom([][]string{{"web"}, {"web"}, {"web", "web-admin"}, {"web-admin"}, {}}).Draw(m.t, "routes")
		s := specOf(routes...)
		if len(routes) > 0 && rapid.Bool().Draw(m.t, "smoke") {
			s.Rollout.Smoke = []core.SmokeCheck{{Route: routes[0]}}
		}
		s.Rollout.Bake = core.Duration(rapid.SampledFrom([]time.Duration{0, 10 * time.Second}).Draw(m.t, "bake"))
		s.Rollout.KeepPrevious = core.Duration(rapid.SampledFrom([]time.Duration{0, time.Minute}).Draw(m.t, "keep"))
		s.Rollout.ProgressDeadline = core.Duration(rapid.SampledFrom([]time.Duration{time.Minute, 10 * time.Minute}).Draw(m.t, "progress"))
		m.strategy(s)
		m.specs[n] = s
		m.bad[n] = rapid.IntRange(0, 4).Draw(m.t, "bad") == 0
	}
	m.must(m.apply(1, rapid.IntRange(0, 4).Draw(m.t, "count")))
}

// strategy makes a revision one that is rolled out step by step, or leaves it blue-green.
func (m *machine) strategy(s *core.Spec) {
	if !rapid.Bool().Draw(m.t, "rolling") {
		return
	}
	s.Rollout.Strategy, s.Rollout.KeepPrevious = core.StrategyRolling, 0
	s.Rollout.MaxSurge = rapid.SampledFrom([]core.Bound{"0", "1", "2", "25%", "100%"}).Draw(m.t, "surge")
	least := []core.Bound{"0", "1", "50%", "100%"}
	if s.Rollout.MaxSurge == "0" {
		least = append(least[1:], "25%")
	}
	s.Rollout.MaxUnavailable = rapid.SampledFrom(least).Draw(m.t, "unavailable")
}

func (m *machine) must(err error) {
	if err != nil {
		m.t.Fatal(err)
	}
}

// control plans once, checks the decision, and writes it, sometimes in part.
func (m *machine) control(t *rapid.T) {
	if m.service == nil {
		m.must(m.apply(rapid.IntRange(1, 5).Draw(t, "revision"), 2))
		return
	}
	before := m.view()
	d := rollout.Plan(before, m.now)
	m.checkDecision(&before, &d)
	served := m.serving()
	m.last = d
	m.write(d, rapid.SampledFrom([]int{1 << 30, 1 << 30, 1, 0}).Draw(t, "most"))
	m.checkI2(served)
	if again := rollout.Plan(before, m.now); again.Verb != d.Verb || len(again.Instances) != len(d.Instances) {
		m.t.Fatalf("the same view is planned in two ways: %+v and %+v", d, again)
	}
}

func (m *machine) pick(t *rapid.T) (string, bool) {
	if len(m.instances) == 0 {
		return "", false
	}
	return rapid.SampledFrom(slices.Sorted(maps.Keys(m.instances))).Draw(t, "instance"), true
}

func (m *machine) agent(t *rapid.T) {
	if id, ok := m.pick(t); ok {
		m.step(id)
	}
}

func (m *machine) fault(t *rapid.T) {
	id, ok := m.pick(t)
	if !ok || m.statuses[id].Phase.Over() {
		return
	}
	switch rapid.SampledFrom([]string{"fail", "lose", "sick", "gone"}).Draw(t, "fault") {
	case "fail":
		m.ends(id, core.InstanceFailed)
	case "lose":
		m.ends(id, core.InstanceLost)
	case "gone":
		m.ends(id, core.InstanceGone)
	case "sick":
		if m.statuses[id].Phase == core.InstanceRunning {
			m.healthy(id, false)
		}
	}
}

func (m *machine) traffic(t *rapid.T) {
	target := &m.targets[rapid.IntRange(0, len(m.targets)-1).Draw(t, "target")]
	for _, name := range slices.Sorted(maps.Keys(m.routes)) {
		if rapid.Bool().Draw(t, "apply") {
			m.applyRoute(target, name)
		}
		if rapid.Bool().Draw(t, "report") {
			m.reportRoute(target, name)
		}
	}
	if rapid.Bool().Draw(t, "smoke") {
		m.smoke(target, rapid.SampledFrom([]string{"", "", "status 500"}).Draw(t, "outcome"))
	}
}

// requests begins and ends requests at a target, to whatever its data plane sends to.
func (m *machine) requests(t *rapid.T) {
	node := m.targets[rapid.IntRange(0, len(m.targets)-1).Draw(t, "target")].Node
	for id, n := range m.inFlight[node] {
		if n > 0 && rapid.Bool().Draw(t, "end") {
			m.inFlight[node][id] = 0
		}
	}
	for _, name := range slices.Sorted(maps.Keys(m.planes[node])) {
		for _, pool := range m.planes[node][name].pools {
			for _, e := range pool.Endpoints {
				if pool.Weight > 0 && rapid.Bool().Draw(t, "begin") {
					m.inFlight[node][e.Instance]++
				}
			}
		}
	}
}

func (m *machine) outage(t *rapid.T) {
	target := &m.targets[rapid.IntRange(0, len(m.targets)-1).Draw(t, "target")]
	target.Healthy = !target.Healthy
}

// anyNode lets a node be cut off, crash, come back, or be drained.
func (m *machine) anyNode(t *rapid.T) {
	name := rapid.SampledFrom([]string{"n1", "n2", "n3"}).Draw(t, "node")
	if m.nodes[name].State == rollout.NodeRemoved {
		return
	}
	switch rapid.SampledFrom([]string{"unreachable", "unreachable", "down", "crash", "ready", "ready", "drain", "undrain", "remove"}).Draw(t, "state") {
	case "unreachable":
		m.node(name, rollout.NodeUnreachable)
	case "down":
		m.node(name, rollout.NodeDown)
	case "crash":
		m.crash(name)
		m.node(name, rollout.NodeUnreachable)
	case "ready":
		m.node(name, rollout.NodeReady)
	case "drain":
		m.drain(name, "drained")
	case "undrain":
		m.drain(name, "")
	case "remove":
		if name == "n3" && rapid.IntRange(0, 9).Draw(t, "really") == 0 {
			m.node(name, rollout.NodeRemoved)
		}
	}
}

func (m *machine) time(t *rapid.T) {
	m.now = m.now.Add(rapid.SampledFrom([]time.Duration{
		time.Millisecond, time.Second, 31 * time.Second, 2 * time.Minute, 11 * time.Minute, -time.Minute, -time.Hour,
	}).Draw(t, "passes"))
	if w := m.last.Wake; !w.IsZero() && rapid.Bool().Draw(t, "wake") {
		m.now = w
	}
}

func (m *machine) operator(t *rapid.T) {
	if m.service == nil {
		return
	}
	v := m.view()
	to, count := rapid.IntRange(1, 5).Draw(t, "to"), rapid.IntRange(0, 4).Draw(t, "count")
	m.service.Revisions = 5
	var c rollout.Change
	var err error
	switch rapid.SampledFrom([]string{"apply", "apply", "rollback", "abort", "scale", "replace", "delete"}).Draw(t, "verb") {
	case "apply":
		c, err = rollout.Begin(v, rollout.Start{To: to, Count: count, Kind: core.RolloutDeploy, Reason: "apply"}, m.now)
	case "rollback":
		c, err = rollout.Rollback(v, rapid.SampledFrom([]int{0, to}).Draw(t, "back"), slices.Collect(maps.Values(m.rollouts)), "rollback", m.now)
	case "abort":
		c, err = rollout.Abort(v, "abort")
	case "scale":
		c, err = rollout.Scale(v, count)
	case "delete":
		if rapid.IntRange(0, 3).Draw(t, "really") > 0 {
			return
		}
		c = rollout.Delete(v, m.now)
	case "replace":
		if id, ok := m.pick(t); ok && m.instances[id].Desired == core.DesiredRun {
			inst := m.instances[id]
			inst.Reason = "replacement asked for"
			m.instances[id] = inst
		}
		return
	}
	switch {
	case core.IsConflict(err), core.IsNotFound(err):
		return
	case err != nil:
		m.t.Fatal(err)
	}
	served := m.serving()
	m.change(c)
	if rapid.Bool().Draw(t, "with the planner") {
		after := m.view()
		d := rollout.Plan(after, m.now)
		m.checkDecision(&after, &d)
		d.Create = nil
		m.write(d, 1<<30)
		m.checkI2(served)
	}
}
