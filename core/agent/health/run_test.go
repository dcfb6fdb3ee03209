package health_test

import (
	"context"
	"net/http"
	"sync"
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

// However many instances there are, a daemon at rest wakes up a few times a second for their probes.
func TestProbesOfHealthyInstancesShareTheirTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		times := map[time.Time]int{}
		var mu sync.Mutex
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		var group sync.WaitGroup
		for range 100 {
			group.Go(func() {
				health.Loop(ctx, check, func(context.Context) error {
					mu.Lock()
					defer mu.Unlock()
					times[time.Now()]++
					return nil
				})
			})
		}
		group.Wait()
		probes := 0
		for _, n := range times {
			probes += n
		}
		if probes < 100*58 || probes > 100*62 {
			t.Errorf("%d probes of 100 instances in a minute, want one a second each", probes)
		}
		if wakes := len(times); wakes > 100+5*60 { // the first of each is on its own
			t.Errorf("woken up %d times in a minute", wakes)
		}
	})
}

// A daemon that ends does not wait for an instance that does not answer.
func TestRunEndsDuringAProbe(t *testing.T) {
	asked := make(chan struct{}, 1)
	address := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		<-r.Context().Done()
	})
	slow := check
	slow.Timeout = core.Duration(time.Minute)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		health.Run(ctx, health.Subject{Checks: []core.HealthCheck{slow}, Addresses: map[string]string{"http": address}}, func(v health.Verdict) {
			t.Errorf("verdict %+v of a probe that was cut off", v)
		})
	}()
	<-asked
	cancel()
	select {
	case <-ended:
	case <-time.After(10 * time.Second):
		t.Fatal("still waiting for an answer")
	}
}
