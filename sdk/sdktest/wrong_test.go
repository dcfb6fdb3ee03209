package sdktest_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/instarhq/instar/sdk/sdktest"
)

// wrong is a driver that is sound but for one fault, and the name of the check that must find it. A sound driver with
// the same harness passes the same check: TestSoundCompute, TestSoundTraffic and TestSoundMetrics.
type wrong struct{ fault, check string }

// mustFail runs the one check that has to fail. A panic of the check itself finds nothing.
func (w wrong) mustFail(t *testing.T, checks []sdktest.Check) {
	t.Helper()
	n := slices.IndexFunc(checks, func(c sdktest.Check) bool { return c.Name == w.check })
	if n < 0 {
		t.Fatalf("there is no check %q", w.check)
	}
	r := sdktest.Record(t.Context(), checks[n], time.Minute)
	if r.Status != sdktest.Failed || strings.Contains(r.Detail, "panic: ") {
		t.Errorf("the fault %q: check %q: %s, %q; want it to fail", w.fault, w.check, r.Status, r.Detail)
	}
	if r.Promise == "" {
		t.Errorf("check %q says nothing of what it wants", w.check)
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
