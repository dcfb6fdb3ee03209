package telemetry_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/coretest"
	"github.com/instarhq/instar/core/heartbeat"
	"github.com/instarhq/instar/core/state"
	"github.com/instarhq/instar/core/telemetry"
)

// cluster is a state that metrics are made of.
type cluster struct {
	testing.TB
	*state.State
	telemetry *telemetry.Telemetry
	leads     bool // set before the telemetry is used
}

func newCluster(t testing.TB, leads bool) *cluster {
	t.Helper()
	st := state.New(coretest.NewStore())
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := st.Run(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("state: %v", err)
		}
	})
	t.Cleanup(func() { cancel(); running.Wait() })
	made, err := telemetry.New("1.2.3")
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{TB: t, State: st, telemetry: made, leads: leads}
	made.Attach(telemetry.Sources{
		Store: func() telemetry.Store {
			return telemetry.Store{State: "leader", Leader: "n1", Term: 3, Voters: 3, Records: 7, Queued: 2, QueuedBytes: 99}
		},
		View: st.View, Leads: func() bool { return c.leads }, Ready: func() string { return "" },
		Drivers: func() []telemetry.Driver {
			return []telemetry.Driver{{Target: core.Target{Kind: core.DriverCompute, Driver: "process", Name: "local", Healthy: true}, Launches: 2}}
		},
		Look:         func(string) (heartbeat.Sight, bool) { return heartbeat.Sight{Silent: time.Second}, true },
		Acknowledged: func() time.Time { return time.Now().Add(-time.Second) },
		Certificates: func() map[string]time.Time { return map[string]time.Time{"node": time.Unix(2_000_000_000, 0)} },
	})
	return c
}

func (c *cluster) put(fn func(tx *state.Tx)) {
	c.Helper()
	_, err := c.Update(c.Context(), core.Meta{Principal: "controller", Verb: "test.put"}, func(tx *state.Tx) error { fn(tx); return nil })
	if err != nil {
		c.Fatal(err)
	}
}

// fill makes a cluster with something of everything.
func (c *cluster) fill(nodes, services, instances int) {
	c.Helper()
	now := time.Unix(1_800_000_000, 0).UTC()
	c.put(func(tx *state.Tx) {
		for n := range nodes {
			name := fmt.Sprintf("n%d", n+1)
			state.Nodes.Put(tx, name, core.Node{Format: 1, Name: name, Targets: []core.Target{
				{Kind: core.DriverCompute, Driver: "process", Name: "local", Healthy: true},
				{Kind: core.DriverTraffic, Driver: "proxy", Name: "local", Healthy: true},
			}})
			state.Members.Put(tx, name, core.Member{Format: 1, Name: name, Role: core.RoleVoter, State: core.MemberActive})
		}
		state.NodeStatuses.Put(tx, "n2", core.NodeStatus{Format: 1, Node: "n2", State: core.NodeDown})
		state.Leases.Put(tx, "compute/ec2/eu", core.Lease{Format: 1, Kind: "compute", Driver: "ec2", Target: "eu", Node: "n1"})
		state.Schedules.Put(tx, "daily", core.Schedule{Format: 1, Name: "daily", Every: core.Duration(24 * time.Hour), Last: &core.Taken{Time: now, Bytes: 5}})
		for s := range services {
			name := fmt.Sprintf("s%d", s+1)
			state.Services.Put(tx, name, core.Service{Format: 1, Name: name, Count: instances / services, Revision: 2, Active: 2, Previous: 1, Revisions: 2, Rollouts: 1})
			state.Rollouts.Put(tx, name+"/1", core.Rollout{Format: 1, Service: name, Number: 1, From: 1, To: 2, Phase: core.RolloutBaking, Started: now, PhaseAt: now})
			state.Routes.Put(tx, name, core.Route{
				Format: 1, Name: name, Service: name, Generation: 7, Spec: core.RouteSpec{Name: name, Driver: "proxy"},
				Pools: []core.Pool{{Revision: 2, Weight: 100, Endpoints: []core.Endpoint{{Instance: "i", Address: "a"}}}, {Revision: 1}},
			})
			state.RouteStatuses.Put(tx, name+"@n1/local", core.RouteStatus{Format: 1, Route: name, Node: "n1", Driver: "proxy", Target: "local", Generation: 7, ErrorRate: map[int]float64{2: 0.25}})
		}
	})
	for from := 0; from < instances; from += 1000 {
		c.put(func(tx *state.Tx) {
			for i := from; i < min(from+1000, instances); i++ {
				id, service, node := fmt.Sprintf("i-%05d", i), fmt.Sprintf("s%d", i%services+1), fmt.Sprintf("n%d", i%nodes+1)
				revision := 2 - i/services%2
				state.Instances.Put(tx, id, core.Instance{Format: 1, ID: id, Service: service, Revision: revision, Node: node, Desired: core.DesiredRun})
				state.InstanceStatuses.Put(tx, id, core.InstanceStatus{Format: 1, ID: id, Service: service, Node: node, Phase: core.InstanceRunning, Healthy: true})
			}
		})
	}
}

// scrape gives the metrics as Prometheus reads them.
func (c *cluster) scrape() string {
	c.Helper()
	w := httptest.NewRecorder()
	c.telemetry.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if w.Code != 200 {
		c.Fatalf("status %d: %s", w.Code, w.Body)
	}
	return w.Body.String()
}

// use makes everything count that is counted as it passes.
func use(t *telemetry.Telemetry) {
	t.Request("apply", 200, time.Millisecond, false)
	t.Request("status", 403, time.Millisecond, false)
	t.Request("watch", 200, time.Hour, true)
	t.Forwarded(200)
	t.Forwarded(0)
	t.Committed(time.Millisecond)
	t.Grouped(3)
	t.Proposed(time.Millisecond, nil)
	t.Proposed(time.Millisecond, core.Errorf(core.CodeConflict, "no"))
	t.StoreForwarded("propose", nil)
	t.Called(core.DriverCompute, "process", "local", "Create", time.Second, "")
	t.Called(core.DriverCompute, "process", "local", "Logs", 0, "unavailable")
}

func wantLines(t *testing.T, text string, lines ...string) {
	t.Helper()
	for _, line := range lines {
		if !strings.Contains(text, "\n"+line+"\n") {
			name, _, _ := strings.Cut(line, "{")
			var near []string
			for l := range strings.Lines(text) {
				if strings.HasPrefix(l, name) {
					near = append(near, l)
				}
			}
			t.Errorf("no line %s; there are:\n%s", line, strings.Join(near, ""))
		}
	}
}

func TestFigures(t *testing.T) {
	c := newCluster(t, true)
	c.fill(3, 2, 12)
	use(c.telemetry)
	wantLines(t, c.scrape(),
		`instar_raft_state{state="leader"} 1`, `instar_raft_state{state="follower"} 0`, `instar_raft_is_leader 1`, `instar_raft_term 3`,
		`instar_raft_peers{suffrage="voter"} 3`, `instar_store_records_total 7`, `instar_store_queue_bytes 99`, `instar_node_ready 1`,
		`instar_service_instances_wanted{service="s1"} 6`, `instar_service_instances_healthy{service="s1"} 3`, `instar_service_instances_warm{service="s1"} 3`,
		`instar_instances{node="n1",phase="running"} 4`, `instar_instances{node="n1",phase="failed"} 0`,
		`instar_rollout_phase{phase="baking",service="s2"} 1`, `instar_rollout_phase_start_timestamp_seconds{service="s2"} 1.8e+09`,
		`instar_route_generation{route="s1",service="s1"} 7`, `instar_route_endpoints{route="s1",service="s1"} 1`,
		// n2 is down, so nobody waits for it; n3 has not confirmed
		`instar_route_targets{route="s1",service="s1"} 2`, `instar_route_targets_lagging{route="s1",service="s1"} 1`, `instar_route_error_ratio{route="s1",service="s1"} 0.25`,
		`instar_node_state{node="n2",state="down"} 1`, `instar_node_state{node="n1",state="ready"} 1`, `instar_node_heartbeat_age_seconds{node="n3"} 1`,
		`instar_cluster_members{role="voter",state="active"} 3`, `instar_lease_held{driver="ec2",kind="compute",node="n1",target="eu"} 1`,
		`instar_snapshot_last_success_timestamp_seconds{schedule="daily"} 1.8e+09`, `instar_snapshot_failing{schedule="daily"} 0`,
		`instar_driver_healthy{driver="process",kind="compute",target="local"} 1`, `instar_driver_launches_total{driver="process",kind="compute",target="local"} 2`,
		`instar_certificate_expiry_timestamp_seconds{certificate="node"} 2e+09`,
		`instar_api_requests_total{code="200",operation="apply"} 1`, `instar_api_refusals_total{reason="denied"} 1`, `instar_api_forwarded_total{code="error"} 1`,
		`instar_driver_calls_total{code="ok",driver="process",kind="compute",method="Create",target="local"} 1`,
		`instar_store_requests_total{code="conflict"} 1`, `instar_store_commit_duration_seconds_count 1`, `instar_api_request_duration_seconds_count{operation="apply"} 1`,
	)
	if strings.Contains(c.scrape(), `instar_api_request_duration_seconds_count{operation="watch"}`) {
		t.Error("a stream is in the durations")
	}
}

// A follower may lag: what the cluster's state says is the leader's to export.
func TestFollowersKeepToThemselves(t *testing.T) {
	c := newCluster(t, false)
	c.fill(3, 2, 12)
	for line := range strings.Lines(c.scrape()) {
		for _, prefix := range []string{"instar_service_", "instar_instances", "instar_route_", "instar_node_state", "instar_snapshot_"} {
			if strings.HasPrefix(line, prefix) {
				t.Errorf("a follower exports %s", line)
			}
		}
	}
}

func TestConventions(t *testing.T) {
	c := newCluster(t, true)
	c.fill(3, 2, 12)
	use(c.telemetry)
	problems, err := promlint.New(strings.NewReader(c.scrape())).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		if strings.HasPrefix(p.Metric, "instar_") {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
}

// The number of series follows what operators name, never what comes and goes.
func TestCardinality(t *testing.T) {
	count := func(instances int) (series int, text string) {
		c := newCluster(t, true)
		c.fill(5, 10, instances)
		text = c.scrape()
		for line := range strings.Lines(text) {
			if strings.HasPrefix(line, "instar_") {
				series++
			}
		}
		return series, text
	}
	few, _ := count(100)
	many, text := count(10_000)
	if few != many {
		t.Errorf("%d series with 100 instances, %d with 10000", few, many)
	}
	if strings.Contains(text, "i-0") {
		t.Error("an instance's id is in the metrics")
	}
}

// Before there is anything to be read, and after, the process's own figures are there.
func TestDetached(t *testing.T) {
	c := newCluster(t, true)
	c.telemetry.Detach()
	text := c.scrape()
	if strings.Contains(text, "instar_raft_") || !strings.Contains(text, "go_goroutines") || !strings.Contains(text, `instar_build_info{`) {
		t.Error(text)
	}
}

func TestOutcomes(t *testing.T) {
	c := newCluster(t, true)
	c.fill(1, 2, 4)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- c.telemetry.Follow(ctx, c.State, func() bool { return true }) }()
	await := func(line string) {
		t.Helper()
		deadline := time.After(30 * time.Second)
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for !strings.Contains(c.scrape(), "\n"+line+"\n") {
			select {
			case <-tick.C:
			case <-deadline:
				wantLines(t, c.scrape(), line)
				t.FailNow()
			}
		}
	}
	phase := func(id string, p core.RolloutPhase) {
		c.put(func(tx *state.Tx) {
			r, _ := state.Rollouts.Get(tx, id)
			r.Service, r.Format, r.Phase, r.PhaseAt = id[:2], 1, p, r.Started.Add(time.Minute)
			state.Rollouts.Put(tx, id, r)
		})
	}
	// A rollout that is counted shows that Follow has begun.
	counted := regexp.MustCompile(`instar_rollouts_total{outcome="failed",service="s1"} [1-9]`)
	begun := time.Now().Add(30 * time.Second)
	for n := 2; !counted.MatchString(c.scrape()); n++ {
		if time.Now().After(begun) {
			t.Fatal("no rollout is counted")
		}
		phase(fmt.Sprintf("s1/%d", n), core.RolloutFailed)
	}
	phase("s2/1", core.RolloutRetiring)
	await(`instar_rollouts_total{outcome="succeeded",service="s2"} 1`)
	phase("s2/1", core.RolloutSucceeded) // the warm time has ended: nothing new
	c.put(func(tx *state.Tx) {
		s, _ := state.InstanceStatuses.Get(tx, "i-00000")
		s.Phase = core.InstanceFailed
		state.InstanceStatuses.Put(tx, "i-00000", s)
		sched, _ := state.Schedules.Get(tx, "daily")
		sched.Failing = &core.Failing{Error: "no room"}
		state.Schedules.Put(tx, "daily", sched)
	})
	await(`instar_instance_failures_total{service="s1"} 1`)
	await(`instar_snapshot_failures_total{schedule="daily"} 1`)
	wantLines(t, c.scrape(), `instar_rollouts_total{outcome="succeeded",service="s2"} 1`, `instar_rollout_duration_seconds_sum{service="s2"} 60`)
	c.put(func(tx *state.Tx) { state.Services.Delete(tx, "s1") })
	deadline := time.Now().Add(30 * time.Second)
	for strings.Contains(c.scrape(), `instar_rollouts_total{outcome="failed",service="s1"}`) {
		if time.Now().After(deadline) {
			t.Fatal("the series of a deleted service stay")
		}
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func BenchmarkScrape(b *testing.B) {
	for _, instances := range []int{100, 10_000} {
		b.Run(fmt.Sprint(instances), func(b *testing.B) {
			c := newCluster(b, true)
			c.fill(5, 100, instances)
			handler := c.telemetry.Handler()
			b.ReportAllocs()
			for b.Loop() {
				w := httptest.NewRecorder()
				handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
				_, _ = io.Copy(io.Discard, w.Body)
			}
		})
	}
}
