package sdktest_test

import (
	"context"
	"errors"
	"math"
	"sync"
	"testing"
	"time"

	"github.com/instarhq/instar/sdk"
	"github.com/instarhq/instar/sdk/sdktest"
)

// soundMetrics is a metrics driver that keeps the whole contract; fault is the one thing that is wrong with it where
// it must fail. The query "stale" has a value that is an hour old.
type soundMetrics struct {
	sdktest.NoopMetrics
	fault string
	lab   *lab
	mu    *sync.Mutex
	delay *time.Duration
	down  *bool
}

// Describe implements sdk.Driver.
func (d *soundMetrics) Describe(ctx context.Context) (sdk.Description, error) {
	desc, err := d.NoopMetrics.Describe(ctx)
	desc.Target = targetSchema
	return d.lab.spoil(desc), err
}

// Configure implements sdk.Driver.
func (d *soundMetrics) Configure(_ context.Context, req sdk.ConfigureRequest) error {
	return d.lab.configure(req.Config)
}

// Probe implements sdk.Driver.
func (d *soundMetrics) Probe(ctx context.Context, report func(sdk.Health) error) error {
	return d.lab.probe(ctx, func() bool { return d.call(ctx) == nil }, report)
}

func (d *soundMetrics) call(ctx context.Context) error {
	d.mu.Lock()
	delay, down := *d.delay, *d.down
	d.mu.Unlock()
	if down {
		return sdk.Unavailable(time.Second, "the backend does not answer")
	}
	return pause(ctx, delay)
}

// Query implements sdk.Metrics.
func (d *soundMetrics) Query(ctx context.Context, q sdk.Query) (sdk.Result, error) {
	if d.fault == "panics on empty input" && q.Text == "" {
		panic("no such luck")
	}
	if d.fault == "blocks on cancel" {
		<-make(chan struct{})
	}
	if err := d.call(ctx); err != nil {
		if d.fault == "takes a lost backend for no data" {
			return sdk.Result{Status: sdk.ResultNoData}, nil
		}
		return sdk.Result{}, err
	}
	if d.fault == "asks its own clock" {
		q.At = time.Now()
	}
	if q.Text == "stale" {
		return d.stale(q), nil
	}
	r, err := d.NoopMetrics.Query(ctx, q)
	switch {
	case err != nil && d.fault == "calls a wrong query internal":
		return r, errors.New("syntax error")
	case d.fault == "calls no data an error" && r.Status == sdk.ResultNoData:
		return r, sdk.NotFound("no data")
	}
	for _, s := range r.Series {
		for n := range s.Samples {
			switch d.fault {
			case "answers in another unit":
				s.Samples[n].Value *= 1000
			case "gives samples without a time":
				s.Samples[n].At = time.Time{}
			case "gives infinities":
				s.Samples[n].Value = math.Inf(1)
			case "gives samples beyond the window":
				s.Samples[n].At = s.Samples[n].At.Add(q.Window)
			case "gives the newest first":
				s.Samples[n].At = q.At.Add(-time.Duration(n) * time.Second)
			case "never answers twice alike":
				s.Samples[n].Value += float64(time.Now().UnixNano())
			}
		}
	}
	return r, err
}

// stale is an old value, with its own time.
func (d *soundMetrics) stale(q sdk.Query) sdk.Result {
	old := sdk.Sample{At: q.At.Add(-q.Window - time.Hour), Value: 1}
	r := sdk.Result{Status: sdk.ResultStale, Series: []sdk.Series{{Samples: []sdk.Sample{old}}}}
	switch d.fault {
	case "takes a stale value for a good one":
		r.Status = sdk.ResultOK
	case "gives a stale value without its time":
		r.Series[0].Samples[0].At = time.Time{}
	case "gives a stale value the time of the query":
		r.Series[0].Samples[0].At = q.At
	}
	return r
}

func soundMetricsFixture(fault string, quick bool, via func(sdktest.T, sdk.Metrics) sdk.Metrics) func(sdktest.T) sdktest.MetricsFixture {
	return func(t sdktest.T) sdktest.MetricsFixture {
		var mu sync.Mutex
		var delay time.Duration
		var down bool
		away := func(is bool) {
			mu.Lock()
			defer mu.Unlock()
			down = is
		}
		l, req, want := newLab(fault), request(t), 4.5
		fresh := func(t sdktest.T) sdk.Metrics {
			return via(t, &soundMetrics{fault: fault, lab: l, mu: &mu, delay: &delay, down: &down})
		}
		return sdktest.MetricsFixture{
			Driver: configured(t, fresh(t), req), Configure: req, Unconfigured: fresh,
			Query: sdk.Query{Text: "4.5", At: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Window: time.Minute, Step: time.Second},
			Empty: "none", Invalid: "what?", Want: &want, Stale: "stale",
			Harness: l.harness(quick, &mu, &delay, func() { away(true) }, func() error { away(false); return nil }),
		}
	}
}

func TestSoundMetrics(t *testing.T) {
	t.Parallel()
	t.Run("in process", func(t *testing.T) {
		t.Parallel()
		sdktest.Metrics(t, soundMetricsFixture("", false, direct[sdk.Metrics]))
	})
	t.Run("over gRPC", func(t *testing.T) {
		t.Parallel()
		sdktest.Metrics(t, soundMetricsFixture("", false, sdktest.ServeMetrics))
	})
}

// wrongMetrics are metrics drivers with one fault each, and the check that must find it.
var wrongMetrics = []wrong{
	{"answers in another unit", "query/value"},
	{"gives samples without a time", "query/window"},
	{"gives infinities", "query/window"},
	{"gives samples beyond the window", "query/window"},
	{"gives the newest first", "query/window"},
	{"asks its own clock", "query/time"},
	{"never answers twice alike", "query/repeatable"},
	{"takes a stale value for a good one", "query/stale"},
	{"gives a stale value without its time", "query/stale"},
	{"gives a stale value the time of the query", "query/stale"},
	{"calls no data an error", "query/no-data"},
	{"calls a wrong query internal", "query/invalid"},
	{"blocks on cancel", "query/cancelled"},
	{"takes a lost backend for no data", "backend/lost"},
	{"panics on empty input", "limits/empty"},
	{"accepts unknown attributes", "configure/unknown-attribute"},
	{"accepts values of a wrong type", "configure/schema"},
	{"is lost after a refused Configure", "configure/schema"},
	{"a second Configure is refused", "configure/idempotent"},
	{"probe blocks on cancel", "probe/at-once"},
	{"ignores callbacks' errors", "probe/callback-error"},
	{"describes itself anew each time", "describe/before-configure"},
	{"repeats a secret in an error", "secrets/configure"},
	{"healthy without its backend", "probe/lost-backend"},
	{"describes itself anew each time", "describe/complete"},
}

func TestWrongMetricsDrivers(t *testing.T) {
	t.Parallel()
	mustAllFail(t, wrongMetrics, func(fault string) []sdktest.Check {
		return sdktest.MetricsChecks(soundMetricsFixture(fault, true, direct[sdk.Metrics]))
	})
}
