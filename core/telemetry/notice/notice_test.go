package notice_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/telemetry/notice"
)

// tell gives the sentences of a record that turns one object into another; nil: there was none, or none is left.
func tell(t *testing.T, kind core.Kind, id string, before, after any) []core.Notice {
	t.Helper()
	encode := func(v any) []byte {
		data, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	op := core.Op{Kind: kind, ID: id, Delete: after == nil}
	if after != nil {
		op.Value = encode(after)
	}
	rec := core.Record{Seq: 9, Txn: core.Txn{Meta: core.Meta{Principal: "controller", Time: time.Unix(1, 0)}, Ops: []core.Op{op}}}
	return notice.Of(&rec, func(k core.Kind, i string) ([]byte, bool) {
		if k != kind || i != id || before == nil {
			return nil, false
		}
		return encode(before), true
	})
}

func TestSentences(t *testing.T) {
	rollout := func(p core.RolloutPhase) *core.Rollout {
		return &core.Rollout{Format: 1, Service: "shop", Number: 2, From: 1, To: 2, Phase: p, Reason: "apply"}
	}
	failed := rollout(core.RolloutFailed)
	failed.Failure = &core.Failure{Message: "0 of 3 became healthy"}
	instance := func(p core.InstancePhase, healthy bool) *core.InstanceStatus {
		return &core.InstanceStatus{Format: 1, ID: "shop-a", Service: "shop", Node: "n2", Phase: p, Healthy: healthy, Verified: true, Unhealthy: "GET /: 503"}
	}
	crashed := instance(core.InstanceFailed, false)
	crashed.Failure = &core.Failure{Message: "exited with status 1 after 212 ms", Logs: []string{"secret"}}
	node := func(healthy bool, version string) *core.Node {
		return &core.Node{Format: 1, Name: "n1", Version: version, Targets: []core.Target{{Kind: core.DriverCompute, Driver: "docker", Name: "local", Healthy: healthy, Reason: "no socket"}}}
	}
	status := func(s core.NodeState) *core.NodeStatus { return &core.NodeStatus{Format: 1, Node: "n2", State: s} }
	member := func(s core.MemberState, drain *core.Drain) *core.Member {
		return &core.Member{Format: 1, Name: "n4", Role: core.RoleWorker, Address: "10.0.0.4:4748", State: s, Drain: drain}
	}
	sched := func(f *core.Failing) *core.Schedule { return &core.Schedule{Format: 1, Name: "daily", Failing: f} }
	lease := func(n string) *core.Lease {
		return &core.Lease{Format: 1, Kind: "compute", Driver: "ec2", Target: "eu", Node: n}
	}
	for _, c := range []struct {
		kind          core.Kind
		id            string
		before, after any
		want          string // sentences, one a line
		severity      core.Severity
	}{
		{core.KindService, "shop", nil, &core.Service{Format: 1, Name: "shop", Count: 3}, "service shop is new, with 3 wanted instances", core.SeverityNotice},
		{core.KindService, "shop", &core.Service{Format: 1, Name: "shop", Count: 3}, &core.Service{Format: 1, Name: "shop", Count: 5}, "service shop is scaled from 3 to 5 instances", core.SeverityNotice},
		{core.KindService, "shop", &core.Service{Format: 1}, nil, "service shop is gone", core.SeverityNotice},
		{core.KindRollout, "shop/2", nil, rollout(core.RolloutProvisioning), "rollout shop/2 has begun: revision 1 → 2: apply", core.SeverityNotice},
		{core.KindRollout, "shop/2", rollout(core.RolloutVerifying), rollout(core.RolloutSwitching), "rollout shop/2 switches the traffic to revision 2", core.SeverityNotice},
		{core.KindRollout, "shop/2", rollout(core.RolloutBaking), rollout(core.RolloutBaking), "", ""},
		{core.KindRollout, "shop/2", rollout(core.RolloutVerifying), failed, "rollout shop/2 has failed: 0 of 3 became healthy", core.SeverityWarning},
		{core.KindInstanceStatus, "shop-a", instance(core.InstanceRunning, true), crashed, "instance shop-a on n2 has failed: exited with status 1 after 212 ms", core.SeverityWarning},
		{core.KindInstanceStatus, "shop-a", crashed, crashed, "", ""},
		{core.KindInstanceStatus, "shop-a", instance(core.InstanceRunning, true), instance(core.InstanceRunning, false), "instance shop-a on n2 is not healthy: GET /: 503", core.SeverityWarning},
		{core.KindInstanceStatus, "shop-a", instance(core.InstanceRunning, false), instance(core.InstanceRunning, true), "instance shop-a on n2 is healthy again", core.SeverityNotice},
		{core.KindInstanceStatus, "shop-a", instance(core.InstanceRunning, true), instance(core.InstanceDraining, false), "", ""},
		{core.KindNodeStatus, "n2", nil, status(core.NodeUnreachable), "node n2 is unreachable: its instances leave the routes", core.SeverityWarning},
		{core.KindNodeStatus, "n2", status(core.NodeUnreachable), status(core.NodeDown), "node n2 is down: its instances are replaced elsewhere", core.SeverityCritical},
		{core.KindNodeStatus, "n2", status(core.NodeDown), status(core.NodeReady), "node n2 is back", core.SeverityNotice},
		{core.KindNode, "n1", node(true, "1"), node(false, "1"), `compute docker "local" on n1 is not healthy: no socket`, core.SeverityWarning},
		{core.KindNode, "n1", node(false, "1"), node(true, "2"), "node n1 runs instard 2; it was 1\ncompute docker \"local\" on n1 is healthy", core.SeverityNotice},
		{core.KindMember, "n4", nil, member(core.MemberActive, nil), "node n4 has joined as a worker, at 10.0.0.4:4748", core.SeverityNotice},
		{core.KindMember, "n4", member(core.MemberActive, nil), member(core.MemberRemoved, nil), "node n4 is removed from the cluster", core.SeverityWarning},
		{core.KindMember, "n4", member(core.MemberActive, nil), member(core.MemberActive, &core.Drain{By: "local:root"}), "node n4 is being emptied, as local:root has asked", core.SeverityNotice},
		{core.KindLease, "compute/ec2/eu", lease("n1"), lease("n2"), `n2 acts on compute ec2 "eu" now; it was n1`, core.SeverityNotice},
		{core.KindSchedule, "daily", sched(nil), sched(&core.Failing{Error: "no room"}), "snapshots of the schedule daily fail: no room", core.SeverityWarning},
		{core.KindSchedule, "daily", sched(&core.Failing{Error: "no room"}), sched(nil), "snapshots of the schedule daily work again", core.SeverityNotice},
		{core.KindRecovery, core.RecoveryObject, &core.Recovery{Format: 1}, nil, "what runs agrees with what was restored", core.SeverityNotice},
		{core.KindToken, "t", nil, &core.Token{Format: 1, ID: "t"}, "", ""},
	} {
		var lines []string
		for _, n := range tell(t, c.kind, c.id, c.before, c.after) {
			lines = append(lines, n.Message)
			if n.Seq != 9 || n.By != "controller" || n.Object != string(c.kind)+"/"+c.id || n.Severity != c.severity {
				t.Errorf("%s: %+v", c.want, n)
			}
		}
		if got := strings.Join(lines, "\n"); got != c.want {
			t.Errorf("%s %s:\n got %q\nwant %q", c.kind, c.id, got, c.want)
		}
	}
}

// What cannot be read says nothing, and ends nothing.
func TestUnreadable(t *testing.T) {
	rec := core.Record{Seq: 2, Txn: core.Txn{Ops: []core.Op{
		{Kind: core.KindRollout, ID: "x", Value: []byte("{")},
		{Kind: core.KindService, ID: "a", Value: []byte(`{"format":1,"name":"a"}`)},
	}}}
	got := notice.Of(&rec, func(core.Kind, string) ([]byte, bool) { return []byte("["), true })
	if len(got) != 1 || got[0].Service != "a" {
		t.Errorf("%+v", got)
	}
}
