package wire_test

import (
	"context"
	"reflect"
	"testing"
	"time"

	"github.com/instarhq/instar/sdk"
	"github.com/instarhq/instar/sdk/sdktest"
)

// told records what a traffic driver is told, and answers what it is given.
type told struct {
	*sdktest.NoopTraffic
	route    sdk.Route
	removed  string
	hold     sdk.HoldLimits
	released string
	answer   sdk.Observation
}

func (d *told) Apply(_ context.Context, r sdk.Route) error { d.route = r; return nil }

func (d *told) Observe(context.Context, string) (sdk.Observation, error) { return d.answer, nil }

func (d *told) Remove(_ context.Context, route string, generation uint64, drain time.Duration) error {
	if generation != 7 || drain != 3*time.Second {
		return sdk.Conflict("generation %d, drain %s", generation, drain)
	}
	d.removed = route
	return nil
}

func (d *told) Hold(_ context.Context, _ string, l sdk.HoldLimits) error { d.hold = l; return nil }

func (d *told) Release(_ context.Context, route string) error { d.released = route; return nil }

func TestTrafficRoundTrip(t *testing.T) {
	d := &told{NoopTraffic: sdktest.NewNoopTraffic(nil)}
	client := sdktest.ServeTraffic(t, d)
	for _, r := range []sdk.Route{
		{ID: "web", Generation: 1},
		{
			ID: "web", Generation: 9, Listen: ":8443", Protocol: sdk.ProtocolHTTP, Host: "shop.example", Path: "/a",
			TLS: &sdk.TLS{CertificateFile: "c", KeyFile: "k"}, Drain: time.Minute, Config: []byte(`{"x":1}`),
			Pools: []sdk.Pool{
				{Revision: 1, Weight: 90, Endpoints: []sdk.Endpoint{{ID: "a", Address: "127.0.0.1:1"}, {ID: "b", Address: "[::1]:2"}}},
				{Revision: 2, Weight: 0, Preview: true},
			},
		},
		{ID: "db", Generation: 2, Protocol: sdk.ProtocolTCP},
	} {
		if err := client.Apply(t.Context(), r); err != nil || !reflect.DeepEqual(d.route, r) {
			t.Errorf("the route arrived as %+v, %v; want %+v", d.route, err, r)
		}
	}
	endpoint := sdk.EndpointObservation{
		ID: "a", Address: "127.0.0.1:1", State: sdk.EndpointDown, InFlight: 3, Requests: 1 << 60, Errors: 4,
		Latency: sdk.Latency{P50: 1, P90: time.Millisecond, P99: time.Second, Max: time.Hour, Count: 9},
	}
	d.answer = sdk.Observation{
		Route: "web", Generation: 9, Listening: true, Held: 4,
		Pools:    []sdk.PoolObservation{{Revision: 1, Weight: 90, Preview: true, Endpoints: []sdk.EndpointObservation{endpoint}}},
		Draining: []sdk.EndpointObservation{{ID: "z", State: sdk.EndpointDraining}, {ID: "y", State: sdk.EndpointUp}},
	}
	if got, err := client.Observe(t.Context(), "web"); err != nil || !reflect.DeepEqual(got, d.answer) {
		t.Errorf("the observation arrived as %+v, %v; want %+v", got, err, d.answer)
	}
	if err := client.Remove(t.Context(), "web", 7, 3*time.Second); err != nil || d.removed != "web" {
		t.Errorf("remove: %q, %v", d.removed, err)
	}
	limits := sdk.HoldLimits{Requests: 5, Timeout: time.Second}
	if err := client.Hold(t.Context(), "web", limits); err != nil || d.hold != limits {
		t.Errorf("hold: %+v, %v", d.hold, err)
	}
	if err := client.Release(t.Context(), "web"); err != nil || d.released != "web" {
		t.Errorf("release: %q, %v", d.released, err)
	}
}

// asked records a query and answers what it is given.
type asked struct {
	sdktest.NoopMetrics
	query  sdk.Query
	answer sdk.Result
}

func (d *asked) Query(_ context.Context, q sdk.Query) (sdk.Result, error) {
	d.query = q
	return d.answer, nil
}

func TestMetricsRoundTrip(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	q := sdk.Query{Text: "up", At: at, Window: time.Minute, Step: time.Second, InstanceLabel: "instance"}
	for _, status := range []sdk.ResultStatus{sdk.ResultOK, sdk.ResultNoData, sdk.ResultPartial, sdk.ResultStale} {
		d := &asked{answer: sdk.Result{Status: status, Series: []sdk.Series{
			{Labels: map[string]string{"job": "web"}, Instance: "web-1", Samples: []sdk.Sample{{At: at, Value: 0.25}}},
		}}}
		got, err := sdktest.ServeMetrics(t, d).Query(t.Context(), q)
		if err != nil || !reflect.DeepEqual(got, d.answer) || d.query != q {
			t.Errorf("query %+v and answer %+v arrived as %+v and %+v, %v", q, d.answer, d.query, got, err)
		}
	}
}
