package route

import (
	"testing"
	"testing/quick"
	"time"
)

func TestBucketsAreClose(t *testing.T) {
	check := func(us uint32) bool {
		d := time.Duration(us) * time.Microsecond
		m := middle(bucket(d))
		return (m - d).Abs() <= d/16+time.Microsecond
	}
	if err := quick.Check(check, &quick.Config{MaxCount: 10000}); err != nil {
		t.Error(err)
	}
	if b := bucket(1 << 62); b != buckets-1 {
		t.Errorf("a value beyond all is in bucket %d", b)
	}
	for b := 1; b < buckets; b++ {
		if middle(b) < middle(b-1) {
			t.Fatalf("bucket %d stands for less than the one before", b)
		}
	}
}

func TestWindow(t *testing.T) {
	var w window
	now := time.Unix(1_000_000_000, 0)
	for i := 1; i <= 1000; i++ {
		w.record(now, time.Duration(i)*time.Millisecond)
	}
	l := w.summary(now.Add(45 * time.Second))
	near := func(got, want time.Duration) bool { return (got - want).Abs() < want/10 }
	if l.Count != 1000 || !near(l.P50, 500*time.Millisecond) || !near(l.P90, 900*time.Millisecond) || !near(l.P99, 990*time.Millisecond) || l.Max != time.Second {
		t.Errorf("summary is %+v", l)
	}
	if l := w.summary(now.Add(70 * time.Second)); l.Count != 0 {
		t.Errorf("after more than a minute the summary still has %+v", l)
	}
	w.record(now.Add(60*time.Second), time.Millisecond) // uses the first slice again
	if l := w.summary(now.Add(60 * time.Second)); l.Count != 1 || l.Max != time.Millisecond {
		t.Errorf("a slice that was used again has %+v", l)
	}
}
