package health_test

import (
	"context"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/agent/health"
)

func TestRunWithoutChecks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var took time.Duration
		health.Run(t.Context(), health.Subject{}, func(v health.Verdict) {
			if v.Healthy {
				took = time.Since(start)
			}
		})
		if took != health.RunningFor {
			t.Errorf("healthy after %s, want %s", took, health.RunningFor)
		}
		health.Run(t.Context(), health.Subject{Last: health.Verdict{Healthy: true}}, func(v health.Verdict) {
			t.Errorf("verdict %+v of an instance that was healthy already", v)
		})
	})
}

// Two checks on a real server, one of which begins to fail.
func TestRunJoinsChecks(t *testing.T) {
	var broken atomic.Bool
	address := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/b" && broken.Load() {
			w.WriteHeader(http.StatusInternalServerError)
		}
	})
	fast := core.HealthCheck{
		Type: core.CheckHTTP, Port: "http", Interval: core.Duration(10 * time.Millisecond),
		Timeout: core.Duration(time.Second), HealthyFor: core.Duration(30 * time.Millisecond),
	}
	a, b := fast, fast
	a.Path, b.Path = "/a", "/b"
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	var verdicts []health.Verdict
	health.Run(ctx, health.Subject{
		Checks: []core.HealthCheck{a, b}, Addresses: map[string]string{"http": address},
	}, func(v health.Verdict) {
		verdicts = append(verdicts, v)
		switch len(verdicts) {
		case 1:
			broken.Store(true)
		case 2:
			broken.Store(false)
		case 3:
			cancel()
		}
	})
	want := "GET /b on " + address + ": 500 Internal Server Error"
	if len(verdicts) != 3 || !verdicts[0].Healthy || verdicts[1].Reason != want || !verdicts[2].Healthy {
		t.Errorf("verdicts %+v", verdicts)
	}
}
