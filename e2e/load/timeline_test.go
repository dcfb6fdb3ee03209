package load

import (
	"testing"
	"time"
)

func TestTimeline(t *testing.T) {
	zero := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	at := func(ms int) time.Time { return zero.Add(time.Duration(ms) * time.Millisecond) }
	timeline := NewTimeline(1, at(0)).Switch(2, at(100), at(110)).Switch(1, at(200), at(205))
	for _, c := range []struct {
		revision, begin, end int
		want                 bool
	}{
		{1, 0, 5, true},
		{2, 0, 5, false},
		{2, 95, 99, false},
		{2, 95, 100, true},  // answered after the commit
		{1, 105, 120, true}, // sent before the confirmation
		{1, 110, 120, false},
		{2, 150, 160, true},
		{1, 150, 160, false},
		{1, 199, 201, true},
		{2, 204, 300, true},
		{2, 205, 300, false},
		{1, 500, 600, true},
		{3, 0, 600, false},
		{NoRevision, 0, 600, false},
	} {
		if got := timeline.Active(c.revision, at(c.begin), at(c.end)); got != c.want {
			t.Errorf("revision %d active within %d..%d ms: %v, want %v", c.revision, c.begin, c.end, got, c.want)
		}
	}
}

func result(records ...Record) *Result {
	return &Result{Start: time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC), Records: records, Judged: true}
}

func TestPercentile(t *testing.T) {
	var records []Record
	for ms := 1; ms <= 200; ms++ {
		d := time.Duration(ms) * time.Millisecond
		records = append(records, Record{Kind: Fresh, Intended: d, Begin: d, End: 2 * d}) // latency d, at d
	}
	r := result(records...)
	window := func(from, to int) Window {
		return Window{r.Start.Add(time.Duration(from) * time.Millisecond), r.Start.Add(time.Duration(to) * time.Millisecond)}
	}
	for _, c := range []struct {
		p       float64
		windows []Window
		want    int
	}{
		{0.5, nil, 100},
		{0.99, nil, 198},
		{1, nil, 200},
		{0, nil, 1},
		{1, []Window{window(10, 20)}, 19},
		{0.5, []Window{window(1, 3), window(101, 103)}, 2},
		{1, []Window{window(300, 400)}, 0},
	} {
		if got := r.Percentile(c.p, c.windows...); got != time.Duration(c.want)*time.Millisecond {
			t.Errorf("percentile %g of %v is %s, want %d ms", c.p, c.windows, got, c.want)
		}
	}
}

func TestLastTo(t *testing.T) {
	r := result(
		Record{Kind: Fresh, Revision: 1, Begin: 10},
		Record{Kind: Fresh, Revision: 1, Begin: 30},
		Record{Kind: Echo, Revision: 1, Begin: 50},
		Record{Kind: Fresh, Revision: 1, Begin: 90},
		Record{Kind: Fresh, Revision: 2, Begin: 40},
	)
	within := Window{r.Start, r.Start.Add(80)}
	if got := r.LastTo(1, within); !got.Equal(r.Start.Add(30)) {
		t.Errorf("last request to revision 1 at %s", got.Sub(r.Start))
	}
	if got := r.LastTo(3, within); !got.IsZero() {
		t.Errorf("a request to revision 3 at %s", got)
	}
}

func TestSummary(t *testing.T) {
	r := result(
		Record{Kind: Fresh, End: 10},
		Record{Kind: Fresh, End: 30, Outcome: BadStatus},
		Record{Kind: Echo, End: 5},
	)
	rows := r.Summary()
	if len(rows) != 2 || rows[0] != (KindSummary{Kind: Fresh, Requests: 2, Failed: 1, P50: 10, P99: 30, Max: 30}) {
		t.Errorf("summary %+v", rows)
	}
	if r.Failed() != 1 || len(r.Failures(10)) != 1 || len(r.Failures(0)) != 0 {
		t.Errorf("failed %d: %v", r.Failed(), r.Failures(10))
	}
}
