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
	p := &processes{v: v, target: target, kind: sdk.KindCompute}
	f := sdktest.ComputeFixture{
		Driver: opened[sdk.Compute](p)(t), Configure: target.request, Artifact: sdk.Artifact{Source: v.options.Artifact},
		Config: v.options.Workload, Exits: v.options.Exits, Talks: v.options.Talks,
		Fails: v.options.Fails, Stubborn: v.options.Stubborn, Shows: v.options.Shows, Holds: p.holds(), Change: p.change(),
		Reopen: opened[sdk.Compute](p), Unconfigured: launched[sdk.Compute](p), Crash: opened[sdk.Compute](p),
		Gone: sdk.Artifact{Source: v.options.Missing}, Mounts: v.options.Mounts, Harness: p.harness(),
		Other: func(t sdktest.T) (sdk.Compute, sdk.ConfigureRequest) {
			other := v.newTarget(t)
			return opened[sdk.Compute](&processes{v: v, target: other, kind: sdk.KindCompute})(t), other.request
		},
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
	p := &processes{v: v, target: target, kind: sdk.KindTraffic}
	return sdktest.TrafficFixture{
		Driver: opened[sdk.Traffic](p)(t), Configure: target.request, Config: v.options.Workload, DataPlane: v.options.DataPlane,
		Reopen: opened[sdk.Traffic](p), Unconfigured: launched[sdk.Traffic](p), Crash: opened[sdk.Traffic](p), Harness: p.harness(),
	}
}

// metrics makes a fixture of its own process and target for one check.
func (v *verifier) metrics(t sdktest.T) sdktest.MetricsFixture {
	t.Helper()
	target := v.newTarget(t)
	at, window := v.options.At, v.options.Window
	if at.IsZero() {
		at = time.Now().UTC().Truncate(time.Second)
	}
	if window == 0 {
		window = time.Minute
	}
	p := &processes{v: v, target: target, kind: sdk.KindMetrics}
	return sdktest.MetricsFixture{
		Driver: opened[sdk.Metrics](p)(t), Configure: target.request, Unconfigured: launched[sdk.Metrics](p), Harness: p.harness(),
		Query: sdk.Query{Text: v.options.Query, At: at, Window: window, Step: window / 10},
		Empty: v.options.Empty, Invalid: v.options.Invalid, Want: v.options.Want, Stale: v.options.Stale,
	}
}
