package judge

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/e2e/load"
)

// rollingLog is the log of a rolling rollout from two instances of revision 1 to two of revision 2, with a surge
// of one, until just after the first step.
func rollingLog(t *testing.T) *logbook {
	l := &logbook{t: t}
	phase := func(phase core.RolloutPhase) object {
		return object{core.KindRollout, "web/2", core.Rollout{
			Service: "web", Number: 2, From: 1, To: 2, Phase: phase, FromCount: 2, Rolling: &core.Rolling{MaxSurge: "1", MaxUnavailable: "0"},
		}}
	}
	l.at(0, "agent.node", object{core.KindNode, "n1", core.Node{Name: "n1", Targets: []core.Target{
		{Kind: core.DriverTraffic, Driver: "proxy", Name: "local", Healthy: true},
	}}})
	l.at(10, "x", instance("a", 1, core.DesiredRun, time.Time{}), instance("b", 1, core.DesiredRun, time.Time{}), status("a", true), status("b", true))
	l.at(20, "x", service(1, 2), route(1, pool(1, 100, "a", "b")))
	l.at(30, "x", report(1))
	l.at(40, "x", phase(core.RolloutProvisioning), instance("c", 2, core.DesiredRun, time.Time{}))
	l.at(50, "x", status("c", true))
	l.at(60, "rollout.switch", service(2, 2), phase(core.RolloutSwitching), route(2, pool(1, 1, "a"), pool(2, 1, "c")),
		instance("b", 1, core.DesiredDrain, epoch.Add(60*time.Millisecond)))
	l.at(70, "x", report(2, "b"))
	return l
}

func TestSoundRolling(t *testing.T) {
	l := rollingLog(t)
	l.at(80, "x", instance("b", 1, core.DesiredDestroy, epoch.Add(60*time.Millisecond)))
	l.at(90, "x", object{core.KindInstanceStatus, "b", core.InstanceStatus{ID: "b", Service: "web", Phase: core.InstanceGone, Fingerprint: "f-b"}})
	l.at(100, "x", instance("d", 2, core.DesiredRun, time.Time{}))
	l.at(110, "x", status("d", true))
	l.at(120, "x", route(3, pool(2, 100, "c", "d")), instance("a", 1, core.DesiredDrain, epoch.Add(120*time.Millisecond)))
	l.at(130, "x", report(3, "a"))
	for _, check := range []func([]core.Record) ([]string, error){All, Enough, Bounded} {
		if broken, err := check(l.records); err != nil || len(broken) != 0 {
			t.Errorf("broken %v, error %v", broken, err)
		}
	}
	at := func(ms int) time.Time { return epoch.Add(time.Duration(ms) * time.Millisecond) }
	want := load.Timeline{{Revision: 1, From: at(20), To: at(130)}, {Revision: 2, From: at(60)}}
	if served, err := Serving(l.records, "web"); err != nil || !slices.Equal(served, want) {
		t.Errorf("served %v, want %v: %v", served, want, err)
	}
}

// A revision that leaves and has not been confirmed in the log gets no time on top; one that comes back is active anew.
func TestServingAgain(t *testing.T) {
	l := rollingLog(t)
	l.at(80, "x", route(3, pool(1, 100, "a", "b")))
	l.at(90, "x", report(3))
	l.at(100, "x", route(4, pool(1, 1, "a"), pool(2, 1, "c")))
	l.at(110, "x", route(5, pool(1, 100, "a")))
	at := func(ms int) time.Time { return epoch.Add(time.Duration(ms) * time.Millisecond) }
	want := load.Timeline{{Revision: 1, From: at(20)}, {Revision: 2, From: at(60), To: at(90)}, {Revision: 2, From: at(100), To: at(110)}}
	if served, err := Serving(l.records, "web"); err != nil || !slices.Equal(served, want) {
		t.Errorf("served %v, want %v: %v", served, want, err)
	}
}

func TestRollingViolationsAreFound(t *testing.T) {
	for name, c := range map[string]struct {
		check func([]core.Record) ([]string, error)
		more  func(l *logbook)
		want  string
	}{
		"I2 a step too far": {Enough, func(l *logbook) {
			l.at(80, "x", route(3, pool(2, 100, "c")))
		}, "1 healthy instances, wanted 2"},
		"one too many": {Bounded, func(l *logbook) {
			l.at(80, "x", instance("d", 2, core.DesiredRun, time.Time{}))
		}, "4 are alive: at most 3 may be"},
		"I1 nothing verified": {Verified, func(l *logbook) {
			l.at(80, "x", object{core.KindRevision, "web/3", core.Revision{Service: "web", Number: 3, Spec: core.Spec{
				Rollout: core.RolloutSpec{Smoke: []core.SmokeCheck{{Path: "/"}}},
			}}})
			l.at(90, "x", object{core.KindRollout, "web/3", core.Rollout{
				Service: "web", Number: 3, From: 2, To: 3, Phase: core.RolloutSwitching, History: []core.PhaseEntry{{Phase: core.RolloutSwitching}},
			}})
		}, "without its smoke checks"},
	} {
		t.Run(name, func(t *testing.T) {
			l := rollingLog(t)
			c.more(l)
			broken, err := c.check(l.records)
			if err != nil || len(broken) == 0 || !strings.Contains(strings.Join(broken, "\n"), c.want) {
				t.Errorf("broken %q, error %v, want one with %q", broken, err, c.want)
			}
		})
	}
}
