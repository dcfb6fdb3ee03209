package route_test

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/instarhq/instar/plugins/traffic/proxy/route"
	"github.com/instarhq/instar/sdk"
)

// waiting starts n claims that have to wait, and returns what each of them gets.
func waiting(r *route.Route, n int, away <-chan struct{}) <-chan result {
	results := make(chan result, n)
	for range n {
		go func() {
			f := &route.Flight{Abort: func() {}}
			err := r.Claim(f, route.Ask{Now: time.Now(), Away: func() <-chan struct{} { return away }})
			results <- result{f, err}
		}()
	}
	return results
}

type result struct {
	flight *route.Flight
	err    error
}

func TestHeldClaimsFollowTheSwitch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := applied(spec(1, 1, 1), route.LeastInFlight)
		r.Hold(sdk.HoldLimits{})
		results := waiting(r, 5, nil)
		synctest.Wait()
		if o := r.Observe(time.Now()); o.Held != 5 {
			t.Fatalf("%d are held", o.Held)
		}
		r.Apply(spec(2, 1, 0, 1), &route.Options{})
		r.Release()
		for range 5 {
			if got := <-results; got.err != nil || got.flight.Revision != 2 {
				t.Errorf("a held request got %+v", got)
			}
		}
	})
}

func TestHoldLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := applied(spec(1, 1, 1), route.LeastInFlight)
		r.Hold(sdk.HoldLimits{Requests: 2, Timeout: 3 * time.Second})
		results := waiting(r, 2, nil)
		synctest.Wait()
		var f route.Flight
		if err := r.Claim(&f, route.Ask{Now: time.Now()}); !errors.Is(err, route.ErrHeld) {
			t.Errorf("the third of two: %v", err)
		}
		<-time.After(2 * time.Second)
		r.Hold(sdk.HoldLimits{Requests: 2, Timeout: 3 * time.Second}) // goes on; the requests' own time does not
		<-time.After(2 * time.Second)
		for range 2 {
			if got := <-results; !errors.Is(got.err, route.ErrHeld) {
				t.Errorf("after its time a held request got %v", got.err)
			}
		}
		<-time.After(2 * time.Second)
		synctest.Wait()
		claim(t, r, route.Ask{}).Done(route.Outcome{Now: time.Now()}) // the hold has ended by itself
	})
}

func TestHeldClientGoesAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := applied(spec(1, 1, 1), route.LeastInFlight)
		r.Hold(sdk.HoldLimits{})
		away := make(chan struct{})
		results := waiting(r, 1, away)
		synctest.Wait()
		close(away)
		if got := <-results; !errors.Is(got.err, route.ErrAway) {
			t.Errorf("got %v", got.err)
		}
		r.Release()
		if o := r.Observe(time.Now()); o.Pools[0].Endpoints[0].InFlight != 0 {
			t.Errorf("a request that had gone was claimed: %+v", o)
		}
	})
}

func TestRemoveEndsHeldClaims(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := applied(spec(1, 1, 1), route.LeastInFlight)
		r.Hold(sdk.HoldLimits{})
		results := waiting(r, 1, nil)
		synctest.Wait()
		r.Remove(0)
		if got := <-results; !errors.Is(got.err, route.ErrGone) {
			t.Errorf("got %v", got.err)
		}
	})
}

// The defect that others had: a request passes the wait and then meets an endpoint that drains. Here every
// cycle switches while it holds, and no claim may fail or get what was switched away.
func TestHoldCyclesLoseNothing(t *testing.T) {
	r := applied(spec(1, 2, 1), route.LeastInFlight)
	var done atomic.Uint64 // the generation, and revision, whose Apply has returned
	done.Store(1)
	var claims atomic.Int64
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			f := &route.Flight{Abort: func() {}}
			for {
				select {
				case <-stop:
					return
				default:
				}
				least := done.Load()
				if err := r.Claim(f, route.Ask{Now: time.Now()}); err != nil {
					t.Errorf("a claim failed: %v", err)
					return
				}
				if uint64(f.Revision) < least {
					t.Errorf("revision %d, which was replaced by %d before the claim began", f.Revision, least)
				}
				claims.Add(1)
				f.Done(route.Outcome{Now: time.Now()})
			}
		})
	}
	for g := uint64(2); g <= 1000; g++ {
		r.Hold(sdk.HoldLimits{})
		next := spec(g, 2, 1)
		next.Pools[0].Revision = int(g)
		r.Apply(next, &route.Options{})
		done.Store(g)
		r.Release()
	}
	close(stop)
	wg.Wait()
	if claims.Load() == 0 {
		t.Error("nobody claimed")
	}
	o := r.Observe(time.Now())
	for _, p := range o.Pools {
		for _, e := range p.Endpoints {
			if e.InFlight != 0 {
				t.Errorf("%s has %d in flight after all ended", e.ID, e.InFlight)
			}
		}
	}
}
