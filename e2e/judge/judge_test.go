package judge

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/instarhq/instar/core"
)

var epoch = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

// logbook writes records as a cluster with one traffic target would.
type logbook struct {
	t       *testing.T
	records []core.Record
}

type object struct {
	kind core.Kind
	id   string
	v    any // nil: delete
}

// at commits the objects, so many milliseconds after the epoch.
func (l *logbook) at(ms int, verb string, objects ...object) {
	l.t.Helper()
	r := core.Record{Seq: uint64(len(l.records) + 1)}
	r.Txn.Meta = core.Meta{Verb: verb, Time: epoch.Add(time.Duration(ms) * time.Millisecond)}
	for _, o := range objects {
		op := core.Op{Kind: o.kind, ID: o.id, Delete: o.v == nil}
		if o.v != nil {
			data, err := json.Marshal(o.v)
			if err != nil {
				l.t.Fatal(err)
			}
			op.Value = data
		}
		r.Txn.Ops = append(r.Txn.Ops, op)
	}
	l.records = append(l.records, r)
}

func service(active, count int) object {
	return object{core.KindService, "web", core.Service{Name: "web", Count: count, Active: active, Rollouts: 2}}
}

func rollout(phase core.RolloutPhase) object {
	return object{core.KindRollout, "web/2", core.Rollout{Service: "web", Number: 2, From: 1, To: 2, Phase: phase, FromCount: 1}}
}

func status(id string, healthy bool) object {
	return object{core.KindInstanceStatus, id, core.InstanceStatus{
		ID: id, Service: "web", Phase: core.InstanceRunning, Healthy: healthy, Fingerprint: "f-" + id,
	}}
}

func instance(id string, revision int, desired core.Desired, drain time.Time) object {
	return object{core.KindInstance, id, core.Instance{ID: id, Service: "web", Revision: revision, Desired: desired, Drain: drain}}
}

func route(generation uint64, pools ...core.Pool) object {
	return object{core.KindRoute, "web", core.Route{
		Name: "web", Service: "web", Generation: generation, Pools: pools,
		Spec: core.RouteSpec{Driver: "proxy", Drain: core.Duration(time.Second)},
	}}
}

func pool(revision, weight int, instances ...string) core.Pool {
	p := core.Pool{Revision: revision, Weight: weight}
	for _, id := range instances {
		p.Endpoints = append(p.Endpoints, core.Endpoint{Instance: id})
	}
	return p
}

func report(generation uint64, quiet ...string) object {
	return object{core.KindRouteStatus, "web@n1/local", core.RouteStatus{Route: "web", Node: "n1", Target: "local", Generation: generation, Quiet: quiet}}
}

// replacement is the log of web's revision 1 being replaced by revision 2, until just before revision 1's
// instance a is drained.
func replacement(t *testing.T) *logbook {
	l := &logbook{t: t}
	l.at(0, "agent.node", object{core.KindNode, "n1", core.Node{Name: "n1", Targets: []core.Target{
		{Kind: core.DriverTraffic, Driver: "proxy", Name: "local", Healthy: true},
	}}})
	l.at(10, "service.apply", service(0, 1), object{core.KindRevision, "web/2", core.Revision{Service: "web", Number: 2, Spec: core.Spec{
		Rollout: core.RolloutSpec{Smoke: []core.SmokeCheck{{Path: "/"}}},
	}}})
	l.at(20, "instance.want", instance("a", 1, core.DesiredRun, time.Time{}), status("a", true))
	l.at(30, "rollout.switch", service(1, 1), route(1, pool(1, 100, "a")))
	l.at(40, "route.report", report(1))
	l.at(50, "service.apply", rollout(core.RolloutProvisioning), instance("b", 2, core.DesiredRun, time.Time{}))
	l.at(60, "instance.report", status("b", true))
	l.at(70, "rollout.verify", rollout(core.RolloutVerifying), route(2, pool(1, 100, "a"), core.Pool{
		Revision: 2, Preview: true, Endpoints: []core.Endpoint{{Instance: "b"}},
	}))
	l.at(80, "route.report", report(2))
	l.at(90, "check.report", object{core.KindCheck, "web/2@n1/local", core.Check{Rollout: "web/2", Passed: 1, Total: 1}})
	l.at(100, "rollout.switch", rollout(core.RolloutSwitching), service(2, 1), route(3, pool(1, 0, "a"), pool(2, 100, "b")))
	l.at(110, "route.report", report(3))
	return l
}

func TestSoundReplacement(t *testing.T) {
	l := replacement(t)
	l.at(200, "rollout.retire", route(4, pool(2, 100, "b")), instance("a", 1, core.DesiredDrain, epoch.Add(200*time.Millisecond)))
	l.at(210, "route.report", report(4, "a"))
	l.at(220, "instance.destroy", instance("a", 1, core.DesiredDestroy, epoch.Add(200*time.Millisecond)))
	broken, err := All(l.records)
	if err != nil || len(broken) != 0 {
		t.Errorf("broken %v, error %v", broken, err)
	}
	if broken, err = Enough(l.records); err != nil || len(broken) != 0 {
		t.Errorf("broken %v, error %v", broken, err)
	}
	switches, err := Switches(l.records, "web")
	at := func(ms int) time.Time { return epoch.Add(time.Duration(ms) * time.Millisecond) }
	want := []Switch{
		{Seq: 4, From: 0, To: 1, Committed: at(30), Confirmed: at(40)},
		{Seq: 11, From: 1, To: 2, Committed: at(100), Confirmed: at(110)},
	}
	if err != nil || !slices.Equal(switches, want) {
		t.Errorf("switches %+v, error %v, want %+v", switches, err, want)
	}
	timeline := Timeline(switches)
	if served, err := Serving(l.records, "web"); err != nil || !slices.Equal(served, timeline) {
		t.Errorf("served %v, error %v, want %v", served, err, timeline)
	}
	if !timeline.Active(1, at(105), at(106)) || timeline.Active(1, at(110), at(111)) || timeline.Active(2, at(98), at(99)) {
		t.Errorf("timeline %+v", timeline)
	}
}

func TestViolationsAreFound(t *testing.T) {
	drain := epoch.Add(200 * time.Millisecond)
	for name, c := range map[string]struct {
		check func([]core.Record) ([]string, error)
		more  func(l *logbook)
		want  string
	}{
		"I1 unverified endpoint": {Verified, func(l *logbook) {
			l.at(200, "x", instance("c", 2, core.DesiredRun, time.Time{}), status("c", false))
			l.at(210, "x", route(4, pool(2, 100, "b", "c")))
		}, "c in route web"},
		"I1 no smoke check": {Verified, func(l *logbook) {
			l.records = slices.Delete(l.records, 9, 10)
		}, "without its smoke checks"},
		"I1 failed smoke check": {Verified, func(l *logbook) {
			l.at(95, "x", object{core.KindCheck, "web/2@n2/local", core.Check{Rollout: "web/2", Passed: 0, Total: 1}})
			l.at(96, "x", rollout(core.RolloutSwitching))
		}, "without its smoke checks"},
		"I2 too few endpoints": {Enough, func(l *logbook) {
			l.at(200, "x", route(4, pool(2, 100)))
		}, "0 healthy instances, wanted 1"},
		"I2 unhealthy endpoint": {Enough, func(l *logbook) {
			l.at(200, "x", status("b", false))
		}, "0 healthy instances, wanted 1"},
		"I2 switch to fewer": {Enough, func(l *logbook) {
			l.at(200, "x", service(2, 2))
		}, "1 healthy instances, wanted 2"},
		"I3 instance changed": {Immutable, func(l *logbook) {
			l.at(200, "x", instance("a", 2, core.DesiredRun, time.Time{}))
		}, "changes instance/a"},
		"I3 fingerprint changed": {Immutable, func(l *logbook) {
			l.at(200, "x", object{core.KindInstanceStatus, "a", core.InstanceStatus{ID: "a", Phase: core.InstanceRunning, Fingerprint: "other"}})
		}, "changes instance_status/a"},
		"I3 revision changed": {Immutable, func(l *logbook) {
			l.at(200, "x", object{core.KindRevision, "web/2", core.Revision{Service: "web", Number: 2}})
		}, "changes revision/web/2"},
		"I5 still in the route": {Drained, func(l *logbook) {
			l.at(200, "x", instance("a", 1, core.DesiredDestroy, drain))
		}, "destroys a"},
		"I5 not yet applied": {Drained, func(l *logbook) {
			l.at(200, "x", route(4, pool(2, 100, "b")), instance("a", 1, core.DesiredDrain, drain))
			l.at(5000, "x", instance("a", 1, core.DesiredDestroy, drain))
		}, "destroys a"},
		"I5 in flight before the deadline": {Drained, func(l *logbook) {
			l.at(200, "x", route(4, pool(2, 100, "b")), instance("a", 1, core.DesiredDrain, drain))
			l.at(210, "x", report(4))
			l.at(900, "x", instance("a", 1, core.DesiredDestroy, drain))
		}, "destroys a"},
		"I7 same generation": {Ordered, func(l *logbook) {
			l.at(200, "x", route(3, pool(2, 100, "b")))
		}, "as generation 3 after 3"},
		"I7 data plane went back": {Ordered, func(l *logbook) {
			l.at(200, "x", report(2))
		}, "from generation 3 back to 2"},
	} {
		t.Run(name, func(t *testing.T) {
			l := replacement(t)
			c.more(l)
			broken, err := c.check(l.records)
			if err != nil || len(broken) == 0 || !strings.Contains(strings.Join(broken, "\n"), c.want) {
				t.Errorf("broken %q, error %v, want one with %q", broken, err, c.want)
			}
		})
	}
}

func TestDrainDeadlineEndsTheWait(t *testing.T) {
	l := replacement(t)
	drain := epoch.Add(200 * time.Millisecond)
	l.at(200, "x", route(4, pool(2, 100, "b")), instance("a", 1, core.DesiredDrain, drain))
	l.at(210, "x", report(4)) // still in flight
	l.at(1200, "x", instance("a", 1, core.DesiredDestroy, drain))
	if broken, err := Drained(l.records); err != nil || len(broken) != 0 {
		t.Errorf("broken %v, error %v", broken, err)
	}
}

func TestLogThatDoesNotDecode(t *testing.T) {
	bad := core.Record{Seq: 1, Txn: core.Txn{Ops: []core.Op{{Kind: core.KindRoute, ID: "web", Value: []byte("{")}}}}
	if _, err := All([]core.Record{bad}); err == nil || !strings.Contains(err.Error(), "record 1") {
		t.Errorf("error %v, want one that names the record", err)
	}
}
