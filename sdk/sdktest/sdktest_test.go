package sdktest_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/instarhq/instar/sdk"
	"github.com/instarhq/instar/sdk/sdktest"
)

func request(t sdktest.T) sdk.ConfigureRequest {
	return sdk.ConfigureRequest{Target: "local", Node: "n1", Cluster: "c1", Generation: 5, StateDir: t.TempDir()}
}

func configured[D sdk.Driver](t sdktest.T, d D, req sdk.ConfigureRequest) D {
	t.Helper()
	if err := d.Configure(t.Context(), req); err != nil {
		t.Fatalf("Configure: %v", err)
	}
	return d
}

// direct and overWire are the two ways to a driver.
func direct[D any](_ sdktest.T, d D) D { return d }

func computeFixture(via func(sdktest.T, sdk.Compute) sdk.Compute) func(sdktest.T) sdktest.ComputeFixture {
	return func(t sdktest.T) sdktest.ComputeFixture {
		backend := &sdktest.NoopBackend{}
		req := request(t)
		open := func(t sdktest.T) sdk.Compute { return configured(t, via(t, sdktest.NewNoopCompute(backend)), req) }
		return sdktest.ComputeFixture{
			Driver: open(t), Configure: req, Artifact: sdk.Artifact{Source: "demo"}, Reopen: open,
			Exits: json.RawMessage(`{"exit_after": "50ms", "exit_code": 3}`), Ports: []sdk.Port{{Name: "http"}},
			Gone: sdk.Artifact{Source: "missing"}, Mounts: true,
		}
	}
}

func TestNoopCompute(t *testing.T) {
	t.Parallel()
	t.Run("in process", func(t *testing.T) {
		t.Parallel()
		sdktest.Compute(t, computeFixture(direct[sdk.Compute]))
	})
	t.Run("over gRPC", func(t *testing.T) {
		t.Parallel()
		sdktest.Compute(t, computeFixture(sdktest.ServeCompute))
	})
}

func trafficFixture(via func(sdktest.T, sdk.Traffic) sdk.Traffic) func(sdktest.T) sdktest.TrafficFixture {
	return func(t sdktest.T) sdktest.TrafficFixture {
		routes := &sdktest.NoopRoutes{}
		req := request(t)
		open := func(t sdktest.T) sdk.Traffic { return configured(t, via(t, sdktest.NewNoopTraffic(routes)), req) }
		return sdktest.TrafficFixture{Driver: open(t), Configure: req, Reopen: open}
	}
}

func TestNoopTraffic(t *testing.T) {
	t.Parallel()
	t.Run("in process", func(t *testing.T) {
		t.Parallel()
		sdktest.Traffic(t, trafficFixture(direct[sdk.Traffic]))
	})
	t.Run("over gRPC", func(t *testing.T) {
		t.Parallel()
		sdktest.Traffic(t, trafficFixture(sdktest.ServeTraffic))
	})
}

func metricsFixture(via func(sdktest.T, sdk.Metrics) sdk.Metrics) func(sdktest.T) sdktest.MetricsFixture {
	return func(t sdktest.T) sdktest.MetricsFixture {
		req := request(t)
		return sdktest.MetricsFixture{
			Driver: configured(t, via(t, &sdktest.NoopMetrics{}), req), Configure: req,
			Query: sdk.Query{Text: "4.5", At: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Window: time.Minute, Step: time.Second},
			Empty: "none", Invalid: "what?",
		}
	}
}

func TestNoopMetrics(t *testing.T) {
	t.Parallel()
	t.Run("in process", func(t *testing.T) {
		t.Parallel()
		sdktest.Metrics(t, metricsFixture(direct[sdk.Metrics]))
	})
	t.Run("over gRPC", func(t *testing.T) {
		t.Parallel()
		sdktest.Metrics(t, metricsFixture(sdktest.ServeMetrics))
	})
}
