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

// rollingSpec is a spec with the given bounds.
func rollingSpec(surge, unavailable core.Bound, routes ...string) *core.Spec {
	s := specOf(routes...)
	s.Rollout.Strategy, s.Rollout.KeepPrevious = core.StrategyRolling, 0
	s.Rollout.MaxSurge, s.Rollout.MaxUnavailable = surge, unavailable
	return s
}

// allBounds are all that are worth trying, but for both none.
func allBounds() (out [][2]core.Bound) {
	for _, surge := range []core.Bound{"0", "1", "2", "25%", "100%"} {
		for _, unavailable := range []core.Bound{"0", "1", "3", "25%", "100%"} {
			if surge != "0" || unavailable != "0" {
				out = append(out, [2]core.Bound{surge, unavailable})
			}
		}
	}
	return out
}

// TestRollingInvariants is TestInvariants from the middle of a rolling rollout on: anything may happen to it.
func TestRollingInvariants(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := &machine{world: newWorld(), t: rt}
		m.hosts = append(m.hosts, "n3")
		m.declareRolling()
		rt.Repeat(map[string]func(*rapid.T){
			"":              func(*rapid.T) { m.checkStored() },
			"control":       m.control,
			"control again": m.control,
			"control more":  m.control,
			"agents":        func(*rapid.T) { m.behave() },
			"agents again":  func(*rapid.T) { m.behave() },
			"agents more":   func(*rapid.T) { m.behave() },
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

// declareRolling deploys revision 1 and begins a rolling rollout to revision 2.
func (m *machine) declareRolling() {
	m.generation, m.phases = map[string]uint64{}, map[int]core.RolloutPhase{}
	for n := 1; n <= 5; n++ {
		b := rapid.SampledFrom(allBounds()).Draw(m.t, "bounds")
		m.specs[n] = rollingSpec(b[0], b[1], "web")
		m.specs[n].Rollout.Bake = core.Duration(rapid.SampledFrom([]time.Duration{0, 10 * time.Second}).Draw(m.t, "bake"))
		if n == 5 && rapid.Bool().Draw(m.t, "blue-green") {
			m.specs[n] = specOf("web")
		}
	}
	m.must(m.apply(1, rapid.IntRange(1, 4).Draw(m.t, "count")))
	if !m.settle(2 * time.Hour) {
		m.t.Fatal("revision 1 does not come up")
	}
	m.bad[3] = rapid.Bool().Draw(m.t, "bad")
	m.must(m.apply(2, rapid.IntRange(1, 4).Draw(m.t, "count")))
}

// TestRollingNobodyNotices rolls with every pair of bounds, there and half-way back, while agents and traffic
// targets act one at a time in any order. From what each data plane has it counts how many healthy instances
// get requests there: never fewer than the bounds say (I2), and never more are alive than that.
func TestRollingNobodyNotices(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := &machine{world: newWorld(), t: rt, generation: map[string]uint64{}, phases: map[int]core.RolloutPhase{}}
		count, b := rapid.IntRange(1, 9).Draw(rt, "count"), rapid.SampledFrom(allBounds()).Draw(rt, "bounds")
		m.specs[1], m.specs[2] = rollingSpec(b[0], b[1], "web"), rollingSpec(b[0], b[1], "web")
		m.must(m.apply(1, count))
		if !m.settle(2 * time.Hour) {
			rt.Fatal("revision 1 does not come up")
		}
		m.must(m.apply(2, rapid.SampledFrom([]int{count, count, rapid.IntRange(1, 9).Draw(rt, "other count")}).Draw(rt, "next count")))
		back := rapid.IntRange(0, 120).Draw(rt, "abort after")
		for i := 0; !m.rollout().Phase.Over(); i++ {
			if i == back && m.rollout().Phase < core.RolloutRollingBack {
				c, err := rollout.Abort(m.view(), "abort")
				m.must(err)
				m.change(c)
			}
			if i > 5000 {
				rt.Fatalf("does not end: %s: %s", m.rollout().Phase, m.last.Waiting)
			}
			m.oneAct(rt)
			m.checkStored()
			m.checkPlanes()
		}
		if r := m.rollout(); r.Phase == core.RolloutSucceeded && r.Rolling.Joined < m.service.Count {
			rt.Fatalf("%d of %d joined", r.Rolling.Joined, m.service.Count)
		}
		m.converge()
	})
}

// oneAct lets one of those who can act do one thing.
func (m *machine) oneAct(t *rapid.T) {
	switch ids := slices.Sorted(maps.Keys(m.instances)); rapid.SampledFrom([]string{"control", "instance", "instance", "apply", "report"}).Draw(t, "who") {
	case "control":
		m.control(t)
		if w := m.last.Wake; m.last.Empty() && !w.IsZero() && m.rollout().Phase == core.RolloutBaking {
			m.now = w
		}
	case "instance":
		if len(ids) > 0 {
			m.step(rapid.SampledFrom(ids).Draw(t, "instance"))
		}
	case "apply":
		m.applyRoute(&m.targets[rapid.IntRange(0, 1).Draw(t, "target")], "web")
	case "report":
		m.reportRoute(&m.targets[rapid.IntRange(0, 1).Draw(t, "target")], "web")
	}
}

// checkPlanes counts what serves at each data plane.
func (m *machine) checkPlanes() {
	r := m.rollout()
	l := limitsOf(m.service, &r)
	if n := m.alive(); r.Phase < core.RolloutRollingBack && n > l.ceiling {
		m.t.Fatalf("%d instances are alive, %d may be", n, l.ceiling)
	}
	for node, routes := range m.planes {
		serving := 0
		for _, p := range routes["web"].pools {
			for _, e := range p.Endpoints {
				if p.Weight > 0 && m.statuses[e.Instance].Healthy {
					serving++
				}
			}
		}
		if least := m.least(&r, l); serving < least {
			m.t.Fatalf("I2: %d healthy instances serve at %s, %d at least (%s, %s)", serving, node, least, r.Phase, m.pools("web"))
		}
	}
}

// least is how many have to serve at every data plane. One that is late has the routes of a step before.
func (m *machine) least(r *core.Rollout, l limits) int {
	if r.Phase == core.RolloutRollingBack || r.Phase.Over() {
		return min(l.floor, m.floorBefore)
	}
	m.floorBefore = l.floor
	return l.floor
}
