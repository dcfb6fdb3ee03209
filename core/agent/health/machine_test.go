package health_test

import (
	"errors"
	"testing"
	"time"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/agent/health"
)

var check = core.HealthCheck{
	Type: core.CheckHTTP, Port: "http", Path: "/healthz", Failures: 3,
	Interval: core.Duration(time.Second), Timeout: core.Duration(time.Second), HealthyFor: core.Duration(3 * time.Second),
}

func TestMachine(t *testing.T) {
	healthy, unknown := health.Verdict{Healthy: true}, health.Verdict{}
	bad := health.Verdict{Reason: "503"}
	tests := []struct {
		name     string
		from     health.Verdict
		outcomes string // one probe a second: + passed, - failed
		want     health.Verdict
		changes  int
	}{
		{"nothing yet", unknown, "", unknown, 0},
		{"passing, not for long enough", unknown, "+++", unknown, 0},
		{"passing for healthy_for", unknown, "++++", healthy, 1},
		{"a failure starts it over", unknown, "+++-+++", unknown, 0},
		{"and then it passes", unknown, "+++-++++", healthy, 1},
		{"starting: failures are no news", unknown, "---", unknown, 0},
		{"never came up", unknown, "----", bad, 1},
		{"never came up is reported once", unknown, "----------", bad, 1},
		{"two failures are none", healthy, "--+--+--", healthy, 0},
		{"three are", healthy, "+---", bad, 1},
		{"unhealthy stays so until healthy_for", healthy, "---+++", bad, 1},
		{"and recovers", healthy, "---++++", healthy, 2},
		{"restart of the daemon: healthy stays", healthy, "++", healthy, 0},
		{"restart of the daemon: unhealthy stays", bad, "-+-", bad, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			start := time.Unix(1000, 0)
			m := health.NewMachine(check, tt.from, start)
			changes := 0
			for i, outcome := range tt.outcomes {
				var err error
				if outcome == '-' {
					err = errors.New("503")
				}
				if m.Observe(start.Add(time.Duration(i)*time.Second), err) {
					changes++
				}
			}
			if m.Verdict() != tt.want || changes != tt.changes {
				t.Errorf("verdict %+v after %d changes, want %+v after %d", m.Verdict(), changes, tt.want, tt.changes)
			}
		})
	}
}

func TestMachineNext(t *testing.T) {
	start := time.Unix(1000, 0)
	failure := errors.New("connection refused")
	m := health.NewMachine(check, health.Verdict{}, start)
	for i, ms := range []int64{50, 100, 200, 400, 800, 1000, 1000} {
		want := time.Duration(ms * int64(time.Millisecond))
		m.Observe(start, failure)
		if got := m.Next(start); got != want {
			t.Errorf("next probe %s after failure %d of a starting instance, want %s", got, i+1, want)
		}
	}
	m.Observe(start, nil)
	if got := m.Next(start.Add(2500 * time.Millisecond)); got != 500*time.Millisecond {
		t.Errorf("next probe in %s, want it when healthy_for is over", got)
	}
	m.Observe(start.Add(3*time.Second), nil)
	if !m.Verdict().Healthy || m.Next(start) != time.Second {
		t.Errorf("a healthy instance is probed every %s, want the interval", m.Next(start))
	}
}

// A reason that changes with every probe must not become a record with every probe.
func TestMachineReasonsAreRare(t *testing.T) {
	start := time.Unix(1000, 0)
	m := health.NewMachine(check, health.Verdict{Healthy: true}, start)
	changes := 0
	for i := range 120 {
		if m.Observe(start.Add(time.Duration(i)*time.Second), errors.New(string(rune('a'+i%26)))) {
			changes++
		}
	}
	if changes > 5 {
		t.Errorf("%d changes in two minutes of changing reasons", changes)
	}
}
