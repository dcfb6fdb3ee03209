package sdktest

import (
	"context"
	"math"
	"reflect"
	"time"

	"github.com/instarhq/instar/sdk"
)

// MetricsFixture is a metrics driver in a state that checks can begin with.
type MetricsFixture struct {
	Driver    sdk.Metrics
	Configure sdk.ConfigureRequest // what Driver was configured with
	Query     sdk.Query            // has data; At is given
	Empty     string               // a query without data, over the same window
	Invalid   string               // a query that the backend refuses

	// What follows is optional; checks that need it are skipped without.

	Harness
	Want         *float64            // the value of every sample of Query, in the unit that the query asks for
	Stale        string              // a query whose newest sample is older than the window
	Unconfigured func(T) sdk.Metrics // a fresh driver on the same state, not configured yet
}

// Metrics runs the conformance suite of metrics drivers. open makes a fixture for each check.
func Metrics[R interface {
	T
	Runner[R]
}](t R, open func(T) MetricsFixture) {
	t.Helper()
	run(t, MetricsChecks(open))
}

// MetricsChecks are the checks of the suite, in order.
func MetricsChecks(open func(T) MetricsFixture) []Check {
	checks := commonChecks(sdk.KindMetrics, func(t T) commonFixture {
		f := open(t)
		common := commonFixture{Harness: &f.Harness, driver: f.Driver, request: f.Configure}
		if f.Unconfigured != nil {
			common.unconfigured = func(t T) sdk.Driver { return f.Unconfigured(t) }
		}
		return common
	})
	return append(checks,
		Check{"query/window", "Query gives samples of the window, oldest first", func(t T) { checkQuery(t, open(t)) }},
		Check{"query/repeatable", "the same query gives the same answer", func(t T) {
			f := open(t)
			first, err := f.Driver.Query(t.Context(), f.Query)
			if err != nil {
				t.Fatalf("Query: %v", err)
			}
			second, err := f.Driver.Query(t.Context(), f.Query)
			if err != nil || !reflect.DeepEqual(first, second) {
				t.Errorf("the second answer is %+v, %v; want %+v", second, err, first)
			}
		}},
		Check{"query/no-data", "no data is a status and no error", func(t T) {
			f := open(t)
			q := f.Query
			q.Text = f.Empty
			r, err := f.Driver.Query(t.Context(), q)
			if err != nil || r.Status != sdk.ResultNoData || len(r.Series) != 0 {
				t.Errorf("got %+v, %v; want %s without series", r, err, sdk.ResultNoData)
			}
		}},
		Check{"query/invalid", "a query that the backend refuses is InvalidConfig at query", func(t T) {
			f := open(t)
			q := f.Query
			q.Text = f.Invalid
			_, err := f.Driver.Query(t.Context(), q)
			wantInvalid(t, err, "query")
		}},
		Check{"query/cancelled", "a cancelled query returns soon", func(t T) {
			f := open(t)
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			ended := make(chan error, 1)
			go func() {
				_, err := f.Driver.Query(ctx, f.Query)
				ended <- err
			}()
			awaitEnd(t, f.soon(), ended, "Query")
		}},
		Check{"query/value", "samples have the value and the unit that the query asks for", func(t T) {
			f := open(t)
			if f.Want == nil {
				t.Skipf("not run: the fixture has no Want, the value that the query has")
			}
			for _, s := range ask(t, f, f.Query).Series {
				for _, p := range s.Samples {
					if math.Abs(p.Value-*f.Want) > math.Abs(*f.Want)/1e6 {
						t.Errorf("sample at %s of series %v is %v, want %v", p.At, s.Labels, p.Value, *f.Want)
					}
				}
			}
		}},
		Check{"query/stale", "a value that is older than the window is STALE or no data, and keeps its own time", func(t T) {
			f := open(t)
			if f.Stale == "" {
				t.Skipf("not run: the fixture has no Stale query")
			}
			q := f.Query
			q.Text = f.Stale
			r := ask(t, f, q)
			if r.Status != sdk.ResultStale && r.Status != sdk.ResultNoData {
				t.Errorf("status is %q, want %q or %q", r.Status, sdk.ResultStale, sdk.ResultNoData)
			}
			for _, s := range r.Series {
				for _, p := range s.Samples {
					if p.At.IsZero() || p.At.After(q.At.Add(-q.Window)) {
						t.Errorf("a stale sample is said to be of %s, want its own time, before %s", p.At, q.At.Add(-q.Window))
					}
				}
			}
		}},
		Check{"query/time", "the time of a query is the caller's: another time gives samples of another window", func(t T) {
			f := open(t)
			f.Query.At = f.Query.At.Add(-24 * time.Hour)
			begin := f.Query.At.Add(-f.Query.Window)
			for _, s := range ask(t, f, f.Query).Series {
				for _, p := range s.Samples {
					if p.At.After(f.Query.At) || !p.At.After(begin) {
						t.Errorf("a query at %s gives a sample at %s, outside of its window of %s", f.Query.At, p.At, f.Query.Window)
					}
				}
			}
		}},
		Check{"limits/empty", "an empty query is refused; it is no internal error", func(t T) {
			f := open(t)
			err := within(t, f.patience(), "Query", calm(func(ctx context.Context) error {
				_, err := f.Driver.Query(ctx, sdk.Query{})
				return err
			}))
			wantCode(t, err, sdk.CodeInvalidConfig, "Query with nothing given")
		}},
		Check{"backend/lost", "a query without the backend is Unavailable, and never no data", func(t T) {
			f := open(t)
			var e ending
			defer e.tidyUp()
			over := f.outage(t, &e)
			err := within(t, f.patience(), "Query without the backend", func(ctx context.Context) error {
				_, err := f.Driver.Query(ctx, f.Query)
				return err
			})
			wantCode(t, err, sdk.CodeUnavailable, "Query without the backend")
			over()
			eventually(t, f.patience(), "queries are answered again", func() bool {
				_, err := f.Driver.Query(t.Context(), f.Query)
				return err == nil
			})
		}},
	)
}

// ask wants an answer.
func ask(t T, f MetricsFixture, q sdk.Query) sdk.Result {
	t.Helper()
	r, err := f.Driver.Query(t.Context(), q)
	if err != nil {
		t.Fatalf("Query %q: %v", q.Text, err)
	}
	return r
}

func checkQuery(t T, f MetricsFixture) {
	r, err := f.Driver.Query(t.Context(), f.Query)
	if err != nil {
		t.Fatalf("Query: %v", err)
	}
	if r.Status != sdk.ResultOK && r.Status != sdk.ResultPartial {
		t.Errorf("status is %q, want %q or %q", r.Status, sdk.ResultOK, sdk.ResultPartial)
	}
	if len(r.Series) == 0 {
		t.Fatalf("there are no series")
	}
	begin := f.Query.At.Add(-f.Query.Window)
	for _, s := range r.Series {
		var last time.Time
		for _, p := range s.Samples {
			if !p.At.After(begin) || p.At.After(f.Query.At) {
				t.Errorf("sample at %s is outside (%s, %s]", p.At, begin, f.Query.At)
			}
			if !p.At.After(last) {
				t.Errorf("sample at %s comes after the one at %s", p.At, last)
			}
			if math.IsInf(p.Value, 0) {
				t.Errorf("sample at %s is %v", p.At, p.Value)
			}
			last = p.At
		}
		if len(s.Samples) == 0 {
			t.Errorf("series %v has no samples", s.Labels)
		}
	}
}
