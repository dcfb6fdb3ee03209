package agent_test

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/state"
	"github.com/instarhq/instar/sdk"
)

func route(generation uint64, pools ...core.Pool) core.Route {
	return core.Route{
		Format: core.Format, Name: "shop", Service: "web", Generation: generation, Pools: pools,
		Spec: core.RouteSpec{Name: "shop", Driver: "noop", Listen: "127.0.0.1:8080", Protocol: core.ProtocolHTTP, Port: "http"},
	}
}

// pool is one of revision 1.
func pool(weight int, instances ...string) core.Pool {
	p := core.Pool{Revision: 1, Weight: weight}
	for _, id := range instances {
		p.Endpoints = append(p.Endpoints, core.Endpoint{Instance: id, Address: "127.0.0.1:1"})
	}
	return p
}

func (n *node) putRoute(r core.Route) {
	n.t.Helper()
	n.update(func(tx *state.Tx) { state.Routes.Put(tx, r.Name, r) })
}

func TestRouteIsAppliedConfirmedAndLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		n.deploy(revision(nil), "web-1")
		n.putRoute(route(1, pool(100, "web-1")))
		s := n.routeStatus()
		if s.Generation != 1 || s.AppliedAt.IsZero() || s.Failure != "" || s.Driver != "noop" {
			t.Fatalf("status %+v", s)
		}
		_, before := n.traffic.calls()
		n.after(4 * time.Minute)
		if _, after := n.traffic.calls(); after != before {
			t.Errorf("%d looks at a route at rest", after-before)
		}
		n.putRoute(route(7, pool(100, "web-1", "web-2")))
		if s := n.routeStatus(); s.Generation != 7 {
			t.Errorf("generation %d in effect, want 7", s.Generation)
		}
	})
}

func TestDrainingInstancesAreQuietWhenNothingIsInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		n.deploy(revision(nil), "web-1", "web-2", "web-3")
		n.putRoute(route(1, pool(100, "web-1", "web-2")))
		n.traffic.set(func(d *traffic) { d.draining["shop"] = []string{"web-2"} })
		n.update(func(tx *state.Tx) {
			for _, id := range []string{"web-2", "web-3"} { // web-3 never was part of it
				inst, _ := state.Instances.Get(tx, id)
				inst.Desired = core.DesiredDrain
				state.Instances.Put(tx, id, inst)
			}
			state.Routes.Put(tx, "shop", route(2, pool(100, "web-1")))
		})
		if s := n.routeStatus(); s.Generation != 2 || fmt.Sprint(s.Quiet) != "[web-3]" {
			t.Fatalf("status %+v, want web-3 quiet alone", s)
		}
		n.after(10 * time.Second)
		n.traffic.set(func(d *traffic) { d.draining = nil })
		n.after(time.Second)
		if s := n.routeStatus(); fmt.Sprint(s.Quiet) != "[web-2 web-3]" {
			t.Fatalf("quiet %v, want web-2 and web-3", s.Quiet)
		}
		_, before := n.traffic.calls()
		n.after(4 * time.Minute)
		if _, after := n.traffic.calls(); after != before {
			t.Errorf("%d looks after all was quiet", after-before)
		}
	})
}

func TestRemovedRoute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		n.deploy(revision(nil), "web-1")
		n.putRoute(route(1, pool(100, "web-1")))
		removed := route(2)
		removed.Removed = true
		n.update(func(tx *state.Tx) {
			inst, _ := state.Instances.Get(tx, "web-1")
			inst.Desired = core.DesiredDrain
			state.Instances.Put(tx, "web-1", inst)
			state.Routes.Put(tx, "shop", removed)
		})
		if s := n.routeStatus(); !s.Removed || s.Generation != 2 || fmt.Sprint(s.Quiet) != "[web-1]" {
			t.Fatalf("status %+v", s)
		}
		n.update(func(tx *state.Tx) {
			state.Routes.Delete(tx, "shop")
			state.RouteStatuses.Delete(tx, core.RouteStatusID("shop", "n1", "local"))
		})
		n.after(time.Minute)
		if _, ok := state.RouteStatuses.Get(n.state.View(), core.RouteStatusID("shop", "n1", "local")); ok {
			t.Error("the status came back after the route was deleted")
		}
		n.putRoute(route(9, pool(100, "web-1")))
		if s := n.routeStatus(); s.Generation != 9 || s.Removed {
			t.Errorf("a route of the same name is not carried: %+v", s)
		}
	})
}

// The name of a route can go to another service while this node looks away.
func TestRouteNameOfAnotherService(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		n.deploy(revision(nil), "web-1")
		n.putRoute(route(1, pool(100, "web-1")))
		other := route(5, core.Pool{Revision: 1, Weight: 100, Endpoints: []core.Endpoint{{Instance: "api-1", Address: "127.0.0.1:2"}}})
		other.Service = "api"
		n.putRoute(other)
		n.after(time.Second)
		if s := n.routeStatus(); s.Generation != 5 || s.Failure != "" {
			t.Fatalf("status %+v", s)
		}
		drained := instance("api-1")
		drained.Service, drained.Node, drained.Desired = "api", "n2", core.DesiredDrain
		left := route(6)
		left.Service = "api"
		n.update(func(tx *state.Tx) {
			state.Instances.Put(tx, "api-1", drained)
			state.Routes.Put(tx, "shop", left)
		})
		n.after(time.Second)
		if s := n.routeStatus(); fmt.Sprint(s.Quiet) != "[api-1]" {
			t.Errorf("quiet %v, want api-1 of the other node", s.Quiet)
		}
	})
}

func TestRoutesOfOtherTargetsAreNotCarried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		foreign := route(1)
		foreign.Spec.Target = "edge"
		n.putRoute(foreign)
		n.after(time.Second)
		if applies, _ := n.traffic.calls(); applies != 0 || n.routeStatus().Generation != 0 {
			t.Error("a route of another target is carried")
		}
	})
}

func TestRouteFailureIsReportedAndRetried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		n.traffic.set(func(d *traffic) { d.fail = errors.New("listen tcp :8080: bind: address already in use") })
		n.putRoute(route(3))
		if s := n.routeStatus(); !strings.Contains(s.Failure, "address already in use") || s.Generation != 0 {
			t.Fatalf("status %+v", s)
		}
		n.traffic.set(func(d *traffic) { d.fail = nil })
		n.after(10 * time.Second)
		if s := n.routeStatus(); s.Failure != "" || s.Generation != 3 {
			t.Fatalf("status %+v", s)
		}
		n.traffic.set(func(d *traffic) { d.fail = sdk.Unavailable(0, "restarting") })
		n.putRoute(route(4))
		if s := n.routeStatus(); s.Failure != "" {
			t.Error("a driver that is away for a moment is reported as a failure")
		}
		n.after(5 * time.Second)
		if s := n.routeStatus(); !strings.Contains(s.Failure, "restarting") {
			t.Errorf("status %+v", s)
		}
	})
}

// I7: older traffic state never overwrites newer.
func TestI7OlderRouteIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		n.putRoute(route(5, pool(100, "web-1")))
		n.putRoute(route(4, pool(100, "web-2")))
		if s := n.routeStatus(); !strings.Contains(s.Failure, "generation") || s.Generation != 5 {
			t.Errorf("status %+v", s)
		}
		if o, _ := n.traffic.Observe(t.Context(), "shop"); o.Generation != 5 {
			t.Errorf("the data plane has generation %d, want 5", o.Generation)
		}
	})
}

func TestRestartAppliesNothingThatIsInEffect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		n.putRoute(route(1, pool(100, "web-1")))
		n.after(time.Second)
		status, seq := n.routeStatus(), n.store.Seq()
		applies, _ := n.traffic.calls()
		n.restart()
		n.after(time.Minute)
		if after, _ := n.traffic.calls(); after != applies {
			t.Error("a restart applied a route that was in effect")
		}
		if got := n.routeStatus(); got.AppliedAt != status.AppliedAt || n.store.Seq() != seq+1 { // the node
			t.Errorf("a restart reported %+v over %+v", got, status)
		}
	})
}

func TestDataPlaneThatLostARouteGetsItBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		n.putRoute(route(1, pool(100, "web-1")))
		n.after(time.Second)
		n.traffic.set(func(d *traffic) { *d.NoopTraffic = *freshTraffic() }) // its backend was wiped
		n.host.setDown(nil)                                                  // and it is up again
		n.after(time.Second)
		if o, err := n.traffic.Observe(t.Context(), "shop"); err != nil || o.Generation != 1 {
			t.Errorf("the route is not back: %+v, %v", o, err)
		}
	})
}

func TestStrayRoutesAreRemovedAtTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		n.putRoute(route(1, pool(100, "web-1")))
		n.stop()
		if err := n.traffic.Apply(t.Context(), sdk.Route{ID: "stray", Generation: 12, Listen: ":1", Protocol: sdk.ProtocolHTTP}); err != nil {
			t.Fatal(err)
		}
		n.start()
		n.after(time.Second)
		if ids, _ := n.traffic.List(t.Context()); fmt.Sprint(ids) != "[shop]" {
			t.Errorf("the data plane has %v, want shop alone", ids)
		}
	})
}

func TestErrorRateIsReportedWhenItCrosses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		n.deploy(revision(func(s *core.Spec) { s.Rollout.MaxErrorRate = 0.1 }), "web-1")
		n.update(func(tx *state.Tx) {
			svc, _ := state.Services.Get(tx, "web")
			svc.Rollouts = 1
			state.Services.Put(tx, "web", svc)
			state.Rollouts.Put(tx, "web/1", core.Rollout{Format: core.Format, Service: "web", Number: 1, Kind: core.RolloutDeploy, To: 1, Phase: core.RolloutBaking})
			state.Routes.Put(tx, "shop", route(1, pool(100, "web-1")))
		})
		counts := func(failed, all uint64) {
			n.traffic.set(func(d *traffic) { d.errors[1] = [2]uint64{failed, all} })
			n.after(2 * time.Second)
		}
		counts(10, 19)
		if r := n.routeStatus().ErrorRate; r != nil {
			t.Errorf("rate %v of less than 20 answers", r)
		}
		counts(2, 100)
		if r := n.routeStatus().ErrorRate; r != nil {
			t.Errorf("rate %v reported below the limit", r)
		}
		counts(30, 200)
		if r := n.routeStatus().ErrorRate[1]; r != 0.15 {
			t.Errorf("rate %v, want 0.15", r)
		}
		seq := n.store.Seq()
		counts(60, 300)
		if n.store.Seq() != seq {
			t.Error("a rate that stays over the limit was reported again")
		}
		n.update(func(tx *state.Tx) { state.Routes.Put(tx, "shop", route(2)) })
		if r := n.routeStatus().ErrorRate; r != nil {
			t.Errorf("rate %v of a pool that has left the route", r)
		}
	})
}

// smokeServer answers previews of revision 1 until the test ends. Its sockets are real, so the clock of
// a bubble would stand still: smoke tests run on the real one.
func smokeServer(t *testing.T, status int) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get(sdk.PreviewHeader) != "1" || r.Host != "shop.example" {
			w.WriteHeader(http.StatusTeapot)
			return
		}
		w.WriteHeader(status)
		_, _ = fmt.Fprint(w, "welcome to the shop")
	})}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { _ = server.Close() })
	return l.Addr().String()
}

func TestSmokeChecksRunThroughTheConfirmedPreview(t *testing.T) {
	tests := []struct {
		name    string
		status  int
		passed  int
		failure string
	}{
		{"good", http.StatusOK, 2, ""},
		{"bad", http.StatusInternalServerError, 0, "GET /health through route \"shop\""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			address := smokeServer(t, tt.status)
			n := newNodeInRealTime(t)
			n.deploy(revision(func(s *core.Spec) {
				s.Routes = []core.RouteSpec{previewed(address).Spec}
				s.Rollout.Smoke = []core.SmokeCheck{
					{Route: "shop", Path: "/health", Timeout: core.Duration(time.Second)},
					{Route: "shop", Path: "/", Contains: "welcome", Timeout: core.Duration(time.Second)},
				}
			}), "web-1")
			n.update(func(tx *state.Tx) {
				svc, _ := state.Services.Get(tx, "web")
				svc.Rollouts = 1
				state.Services.Put(tx, "web", svc)
				state.Rollouts.Put(tx, "web/1", core.Rollout{Format: core.Format, Service: "web", Number: 1, Kind: core.RolloutDeploy, To: 1, Phase: core.RolloutVerifying})
				state.Routes.Put(tx, "shop", previewed(address))
			})
			check := n.awaitCheck(core.CheckID("web/1", "n1", "noop", "local"))
			if check.Passed != tt.passed || check.Total != 2 || !strings.Contains(check.Failure, tt.failure) || (tt.failure == "") != (check.Failure == "") {
				t.Errorf("check %+v", check)
			}
		})
	}
}

func previewed(address string) core.Route {
	p := pool(0, "web-1")
	p.Preview = true
	r := route(1, p)
	r.Spec.Listen, r.Spec.Host = address, "shop.example"
	return r
}

func (n *node) awaitCheck(id string) core.Check {
	n.t.Helper()
	watch := n.state.Watch()
	defer watch.Stop()
	deadline := time.After(20 * time.Second)
	for {
		if c, ok := state.Checks.Get(n.state.View(), id); ok {
			return c
		}
		select {
		case <-watch.Changed():
			watch.Take()
		case <-deadline:
			n.t.Fatal("no check was reported in 20 s")
		}
	}
}
