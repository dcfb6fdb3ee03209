package route_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/instarhq/instar/plugins/traffic/proxy/route"
	"github.com/instarhq/instar/sdk"
)

// unreachable is a route whose endpoints are all known to take no connection.
func unreachable(t *testing.T, n int) *route.Route {
	t.Helper()
	r := applied(spec(1, n, 1), route.LeastInFlight)
	f := &route.Flight{Abort: func() {}}
	for range n {
		if err := r.Claim(f, route.Ask{Now: time.Now()}); err != nil {
			t.Fatal(err)
		}
		f.Unreached(time.Now(), true)
	}
	if err := r.Claim(f, route.Ask{Now: time.Now()}); !errors.Is(err, route.ErrUnreachable) {
		t.Fatalf("a claim after all endpoints have refused: %v", err)
	}
	return r
}

// awaited is how an Await ended, and how long it took.
type awaited struct {
	err  error
	took time.Duration
}

// await starts n waits of a second.
func await(r *route.Route, n int, ask route.Ask) <-chan awaited {
	results := make(chan awaited, n)
	for range n {
		go func() {
			began := time.Now()
			err := r.Await(&route.Flight{}, ask, began.Add(time.Second))
			results <- awaited{err, time.Since(began)}
		}()
	}
	return results
}

func TestAwaitTriesInTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := unreachable(t, 2)
		results := await(r, 100, route.Ask{})
		trials, lost := 0, 0
		for range 100 {
			got := <-results
			switch {
			case got.err == nil:
				trials++
			case errors.Is(got.err, route.ErrUnreachable) && got.took == time.Second:
				lost++
			default:
				t.Errorf("after %s: %v", got.took, got.err)
			}
		}
		// At 10, 30, 70, 150 ms, and then every 100 ms.
		if trials != 12 {
			t.Errorf("%d of 100 were told to try within a second, want 12; %d gave up", trials, lost)
		}
	})
}

func TestAwaitEndsWithNews(t *testing.T) {
	for name, news := range map[string]func(r *route.Route){
		"an endpoint takes a connection": func(r *route.Route) {
			f := &route.Flight{Abort: func() {}}
			if err := r.Claim(f, route.Ask{Now: time.Now()}); err != nil {
				t.Fatal(err)
			}
			f.Reached()
		},
		"the pools are others":       func(r *route.Route) { r.Apply(spec(2, 1, 0, 1), &route.Options{}) },
		"there are no endpoints":     func(r *route.Route) { r.Apply(spec(2, 0, 1), &route.Options{}) },
		"the route is held":          func(r *route.Route) { r.Hold(sdk.HoldLimits{Timeout: time.Minute}) },
		"the route has been removed": func(r *route.Route) { r.Remove(0) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := unreachable(t, 2)
				results := await(r, 50, route.Ask{})
				time.Sleep(200 * time.Millisecond) //nolint:forbidigo // in a bubble, where the clock jumps
				synctest.Wait()
				tried := len(results)
				news(r)
				synctest.Wait()
				if len(results) != 50 || tried > 4 {
					t.Errorf("%d of 50 had tried before, and %d have ended after the news", tried, len(results))
				}
				for range 50 {
					if got := <-results; got.err != nil {
						t.Error(got.err)
					}
				}
				r.Release()
			})
		})
	}
}

// Pools that are applied anew with the same endpoints are no reason for all who wait to dial them.
func TestAwaitGoesOnWhenNothingIsNew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := unreachable(t, 2)
		results := await(r, 50, route.Ask{})
		time.Sleep(5 * time.Millisecond) //nolint:forbidigo // in a bubble, where the clock jumps
		r.Apply(spec(2, 2, 1), &route.Options{})
		synctest.Wait()
		if len(results) != 0 {
			t.Errorf("%d claim again", len(results))
		}
		for range 50 {
			<-results
		}
	})
}

func TestAwaitIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := unreachable(t, 1)
		results := await(r, 1500, route.Ask{})
		synctest.Wait()
		if len(results) != 500 {
			t.Errorf("%d of 1500 are refused at once, want 500", len(results))
		}
		for range 500 {
			if got := <-results; !errors.Is(got.err, route.ErrUnreachable) || got.took != 0 {
				t.Errorf("after %s: %v", got.took, got.err)
			}
		}
		for range 1000 {
			<-results
		}
		if got := <-await(r, 1, route.Ask{}); got.err != nil {
			t.Errorf("after all have ended nobody may wait: %v", got.err)
		}
	})
}

func TestAwaitOfAClientThatGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := unreachable(t, 1)
		away := make(chan struct{})
		results := await(r, 20, route.Ask{Away: func() <-chan struct{} { return away }})
		time.Sleep(5 * time.Millisecond) //nolint:forbidigo // in a bubble, where the clock jumps
		close(away)
		for range 20 {
			if got := <-results; !errors.Is(got.err, route.ErrAway) || got.took != 5*time.Millisecond {
				t.Errorf("after %s: %v", got.took, got.err)
			}
		}
	})
}

// A preview waits for the endpoints of its own pool, whatever the others do, and no hold concerns it.
func TestAwaitOfAPreview(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := spec(1, 1, 1, 0)
		s.Pools[1].Preview = true
		r := applied(s, route.LeastInFlight)
		f := &route.Flight{Abort: func() {}}
		if err := r.Claim(f, route.Ask{Now: time.Now(), Preview: 2}); err != nil {
			t.Fatal(err)
		}
		f.Unreached(time.Now(), true)
		results := await(r, 1, route.Ask{Preview: 2})
		r.Hold(sdk.HoldLimits{})
		time.Sleep(5 * time.Millisecond) //nolint:forbidigo // in a bubble, where the clock jumps
		synctest.Wait()
		if len(results) != 0 {
			t.Error("it does not wait for its own endpoint")
		}
		if got := <-results; got.err != nil || got.took != 10*time.Millisecond {
			t.Errorf("after %s: %v, want its turn after 10ms", got.took, got.err)
		}
		r.Release()
	})
}
