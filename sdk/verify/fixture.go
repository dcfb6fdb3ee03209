package verify

import (
	"time"

	"github.com/instarhq/instar/sdk"
	"github.com/instarhq/instar/sdk/sdktest"
)

// compute makes a fixture of its own process and target for one check.
func (v *verifier) compute(t sdktest.T) sdktest.ComputeFixture {
	t.Helper()
	target := v.newTarget(t)
	open := opener[sdk.Compute](v, target, sdk.KindCompute)
	f := sdktest.ComputeFixture{
		Driver: open(t), Configure: target.request, Artifact: sdk.Artifact{Source: v.options.Artifact},
		Config: v.options.Workload, Exits: v.options.Exits, Talks: v.options.Talks, Reopen: open,
		Gone: sdk.Artifact{Source: v.options.Missing}, Mounts: v.options.Mounts,
	}
	for _, name := range v.options.Ports {
		f.Ports = append(f.Ports, sdk.Port{Name: name})
	}
	return f
}

// traffic makes a fixture of its own process and target for one check.
func (v *verifier) traffic(t sdktest.T) sdktest.TrafficFixture {
	t.Helper()
	target := v.newTarget(t)
	open := opener[sdk.Traffic](v, target, sdk.KindTraffic)
	return sdktest.TrafficFixture{
		Driver: open(t), Configure: target.request, Config: v.options.Workload, DataPlane: v.options.DataPlane, Reopen: open,
	}
}

// metrics makes a fixture of its own process and target for one check.
func (v *verifier) metrics(t sdktest.T) sdktest.MetricsFixture {
	t.Helper()
	if v.options.Query == "" {
		t.Skipf("no query with data was given")
	}
	target := v.newTarget(t)
	at, window := v.options.At, v.options.Window
	if at.IsZero() {
		at = time.Now().UTC().Truncate(time.Second)
	}
	if window == 0 {
		window = time.Minute
	}
	return sdktest.MetricsFixture{
		Driver: opener[sdk.Metrics](v, target, sdk.KindMetrics)(t), Configure: target.request,
		Query: sdk.Query{Text: v.options.Query, At: at, Window: window, Step: window / 10},
		Empty: v.options.Empty, Invalid: v.options.Invalid,
	}
}
