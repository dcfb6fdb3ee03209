package sdktest_test

import (
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/instarhq/instar/sdk/sdktest"
)

// wrong is a driver that is sound but for one fault, and the name of the check that must find it. A sound driver with
// the same harness passes the same check: TestSoundCompute, TestSoundTraffic and TestSoundMetrics.
type wrong struct{ fault, check string }

// mustAllFail runs, for each wrong driver, the one check that has to fail. The drivers mostly wait, so many run at the
// same time. A panic of the check itself finds nothing.
func mustAllFail(t *testing.T, list []wrong, checks func(fault string) []sdktest.Check) {
	t.Helper()
	results := make([]sdktest.Result, len(list))
	turns := make(chan struct{}, 16)
	var group sync.WaitGroup
	for n, w := range list {
		suite := checks(w.fault)
		at := slices.IndexFunc(suite, func(c sdktest.Check) bool { return c.Name == w.check })
		if at < 0 {
			t.Errorf("there is no check %q", w.check)
			continue
		}
		group.Go(func() {
			turns <- struct{}{}
			defer func() { <-turns }()
			results[n] = sdktest.Record(t.Context(), suite[at], time.Minute)
		})
	}
	group.Wait()
	for n, w := range list {
		t.Run(w.fault+": "+w.check, func(t *testing.T) {
			r := results[n]
			if r.Status != sdktest.Failed || strings.Contains(r.Detail, "panic: ") {
				t.Errorf("the fault %q: check %q: %s, %q; want it to fail", w.fault, w.check, r.Status, r.Detail)
			}
		})
	}
}

// unchallenged are the checks that no wrong driver has to fail, and why there can be none.
var unchallenged = map[string]string{}

// A check that nothing fails may as well find nothing.
func TestEveryCheckHasAWrongDriver(t *testing.T) {
	t.Parallel()
	for kind, suite := range map[string]struct {
		checks []sdktest.Check
		wrong  []wrong
	}{
		"compute": {sdktest.ComputeChecks(nil), wrongCompute},
		"traffic": {sdktest.TrafficChecks(nil), wrongTraffic},
		"metrics": {sdktest.MetricsChecks(nil), wrongMetrics},
	} {
		for _, c := range suite.checks {
			name := kind + " " + c.Name
			challenged := slices.ContainsFunc(suite.wrong, func(w wrong) bool { return w.check == c.Name })
			switch reason := unchallenged[name]; {
			case !challenged && reason == "":
				t.Errorf("%s: no wrong driver has to fail it (%s): write one", name, c.Promise)
			case challenged && reason != "":
				t.Errorf("%s: a wrong driver has to fail it; take it from the exceptions", name)
			}
		}
	}
}

func TestRecordSkipsAndCleansUp(t *testing.T) {
	var cleaned bool
	r := sdktest.Record(t.Context(), sdktest.Check{Name: "ends", Run: func(t sdktest.T) {
		t.Cleanup(func() { cleaned = true })
		<-t.Context().Done()
		t.Skipf("out of time")
	}}, 10*time.Millisecond)
	if r.Status != sdktest.Skipped || r.Detail != "out of time" || !cleaned {
		t.Errorf("got %+v, cleaned up %v", r, cleaned)
	}
}

func TestRecordTellsAPanic(t *testing.T) {
	r := sdktest.Record(t.Context(), sdktest.Check{Name: "panics", Run: func(sdktest.T) { panic("no such luck") }}, time.Minute)
	if r.Status != sdktest.Failed || !strings.Contains(r.Detail, "panic: no such luck") {
		t.Errorf("got %+v", r)
	}
}

// A name is what reports and baselines go by: it is short, and stands for one check.
func TestNamesAreStable(t *testing.T) {
	for kind, checks := range map[string][]sdktest.Check{
		"compute": sdktest.ComputeChecks(nil), "traffic": sdktest.TrafficChecks(nil), "metrics": sdktest.MetricsChecks(nil),
	} {
		seen := map[string]bool{}
		for _, c := range checks {
			area, what, ok := strings.Cut(c.Name, "/")
			if !ok || area == "" || what == "" || strings.ContainsAny(c.Name, " :\t") || seen[c.Name] || c.Promise == "" {
				t.Errorf("%s: check %q (%s): a name is AREA/WHAT and stands for one check with a promise", kind, c.Name, c.Promise)
			}
			seen[c.Name] = true
		}
	}
}
