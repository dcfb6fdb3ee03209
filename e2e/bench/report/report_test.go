package report_test

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/instarhq/instar/e2e/bench/report"
)

func TestWrite(t *testing.T) {
	t.Chdir(t.TempDir())
	rows := []report.Row{
		{Case: "small", Subject: "instar", Metric: "rate", Value: 12345.6, Unit: "1/s"},
		{Case: "small", Subject: "instar", Metric: "p99", Value: 1.23456, Unit: "ms"},
		{Case: "small", Subject: "peer", Metric: "rate", Value: 7, Unit: "1/s"},
	}
	var out strings.Builder
	if err := report.Write(&out, "x", rows); err != nil {
		t.Fatal(err)
	}
	want := "case   subject  rate [1/s]  p99 [ms]\nsmall  instar   12346       1.235\nsmall  peer     7           -\n"
	if out.String() != want {
		t.Fatalf("printed\n%s\nwant\n%s", out.String(), want)
	}
	data, err := os.ReadFile(filepath.Join("build", "bench-x.json"))
	if err != nil {
		t.Fatal(err)
	}
	var back []report.Row
	if err := json.Unmarshal(data, &back); err != nil || !slices.Equal(back, rows) {
		t.Fatalf("file has %s (%v)", data, err)
	}
}

func TestWriteRefusesNaN(t *testing.T) {
	t.Chdir(t.TempDir())
	err := report.Write(&strings.Builder{}, "x", []report.Row{{Case: "a", Value: math.NaN()}})
	if err == nil {
		t.Fatal("a value that was not measured was written")
	}
}

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   float64
	}{{[]float64{3}, 3}, {[]float64{9, 1, 5}, 5}, {[]float64{4, 1, 3, 2}, 2.5}} {
		if got := report.Median(c.values); got != c.want {
			t.Errorf("median of %v is %v, want %v", c.values, got, c.want)
		}
	}
	if !math.IsNaN(report.Median(nil)) {
		t.Error("the median of nothing is a number")
	}
}
