package docker_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/instarhq/instar/sdk"
)

// TestLogLines reads back what is hard to: long lines, empty ones, ones without an end, two streams.
func TestLogLines(t *testing.T) {
	t.Parallel()
	needEngine(t)
	r := newRig(t, engine, "")
	before := time.Now().Add(-time.Minute)
	spec := r.spec(`{"command": ["sh", "-c", "head -c 70000 /dev/zero | busybox tr '\\0' x; echo; head -c 20000 /dev/zero | busybox tr '\\0' y; echo; echo; echo größe; echo oops >&2; printf end"]}`)
	r.create(spec)
	var lines []sdk.LogLine
	err := r.driver.Logs(t.Context(), spec.ID, sdk.LogOptions{Follow: true}, func(l sdk.LogLine) error {
		lines = append(lines, l)
		return nil
	})
	if err != nil {
		t.Fatalf("Logs: %v", err)
	}
	want := []string{strings.Repeat("x", 64<<10), strings.Repeat("y", 20000), "", "größe", "end"}
	var got []string
	for _, l := range lines {
		if l.Time.Before(before) || l.Time.After(time.Now().Add(time.Minute)) {
			t.Errorf("a line has time %s", l.Time)
		}
		if l.Stream == "stderr" {
			if l.Text != "oops" {
				t.Errorf("stderr has %q", l.Text)
			}
			continue
		}
		got = append(got, l.Text)
	}
	if !slices.Equal(got, want) || len(lines) != len(want)+1 {
		for n := range got {
			t.Logf("line %d has %d bytes: %.40q", n, len(got[n]), got[n])
		}
		t.Errorf("%d lines of output, want %d and one of errors", len(got), len(want))
	}
}

func TestLogsThatCannotBeRead(t *testing.T) {
	t.Parallel()
	needEngine(t)
	r := newRig(t, engine, "")
	spec := r.spec(`{"log_driver": "none"}`)
	r.create(spec)
	err := r.driver.Logs(t.Context(), spec.ID, sdk.LogOptions{}, func(sdk.LogLine) error { return nil })
	wantCode(t, err, sdk.CodeUnsupported)
}
