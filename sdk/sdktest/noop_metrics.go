package sdktest

import (
	"context"
	"strconv"
	"time"

	"github.com/instarhq/instar/sdk"
)

// NoopMetrics is a metrics driver without a backend. A query is a number, and yields one series of that
// value; the query "none" has no data; anything else is refused.
type NoopMetrics struct {
	Name   string     // default "noop"
	Health sdk.Health // reported if Reason is set; default healthy
}

var _ sdk.Metrics = (*NoopMetrics)(nil)

// Describe implements sdk.Driver.
func (d *NoopMetrics) Describe(context.Context) (sdk.Description, error) {
	return sdk.Description{
		Name: orDefault(d.Name, "noop"), Version: "0.1.0", Kind: sdk.KindMetrics, Scope: sdk.ScopeNode,
		Doc: "Constant series, for tests and benchmarks.",
	}, nil
}

// Configure implements sdk.Driver.
func (d *NoopMetrics) Configure(_ context.Context, req sdk.ConfigureRequest) error {
	return sdk.Decode(nil, req.Config, &struct{}{})
}

// Probe implements sdk.Driver.
func (d *NoopMetrics) Probe(ctx context.Context, report func(sdk.Health) error) error {
	return probeOnce(ctx, d.Health, report)
}

// Query implements sdk.Metrics.
func (d *NoopMetrics) Query(ctx context.Context, q sdk.Query) (sdk.Result, error) {
	if err := ctx.Err(); err != nil {
		return sdk.Result{}, err
	}
	if q.Text == "none" {
		return sdk.Result{Status: sdk.ResultNoData}, nil
	}
	value, err := strconv.ParseFloat(q.Text, 64)
	if err != nil {
		return sdk.Result{}, sdk.InvalidConfig("query", "%q is neither a number nor none", q.Text)
	}
	step := q.Step
	if step <= 0 {
		step = max(q.Window, time.Second)
	}
	series := sdk.Series{Labels: map[string]string{"source": "noop"}}
	for at := q.At.Add(-q.Window).Add(step); !at.After(q.At); at = at.Add(step) {
		series.Samples = append(series.Samples, sdk.Sample{At: at, Value: value})
	}
	return sdk.Result{Status: sdk.ResultOK, Series: []sdk.Series{series}}, nil
}
