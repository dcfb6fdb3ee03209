package route_test

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/instarhq/instar/plugins/traffic/proxy/route"
	"github.com/instarhq/instar/sdk"
)

// spec is a route with a pool for each weight, of n endpoints each.
func spec(generation uint64, n int, weights ...int) sdk.Route {
	r := sdk.Route{ID: "web", Generation: generation, Drain: time.Minute}
	for i, w := range weights {
		p := sdk.Pool{Revision: i + 1, Weight: w}
		for j := range n {
			p.Endpoints = append(p.Endpoints, sdk.Endpoint{ID: fmt.Sprintf("%d-%d", i+1, j), Address: fmt.Sprintf("127.0.0.1:%d", 1000*(i+1)+j)})
		}
		r.Pools = append(r.Pools, p)
	}
	return r
}

func applied(r sdk.Route, balance route.Balance) *route.Route {
	object := route.New(r.ID)
	object.Apply(r, &route.Options{Balance: balance})
	return object
}

func claim(t *testing.T, r *route.Route, ask route.Ask) *route.Flight {
	t.Helper()
	f := &route.Flight{Abort: func() {}}
	if ask.Now.IsZero() {
		ask.Now = time.Now()
	}
	if err := r.Claim(f, ask); err != nil {
		t.Fatalf("Claim: %v", err)
	}
	return f
}

func TestWeightsAreExact(t *testing.T) {
	r := applied(spec(1, 2, 90, 9, 1, 0), route.LeastInFlight)
	got := make(map[int]int)
	for range 1000 {
		f := claim(t, r, route.Ask{})
		got[f.Revision]++
		f.Done(route.Outcome{Now: time.Now()})
	}
	if got[1] != 900 || got[2] != 90 || got[3] != 10 || got[4] != 0 {
		t.Errorf("of 1000 requests the pools got %v", got)
	}
}

func TestBalance(t *testing.T) {
	r := applied(spec(1, 3, 1), route.LeastInFlight)
	busy := claim(t, r, route.Ask{})
	for range 10 {
		f := claim(t, r, route.Ask{})
		if f.Endpoint == busy.Endpoint {
			t.Fatal("the busy endpoint got a request while others are idle")
		}
		f.Done(route.Outcome{Now: time.Now()})
	}
	r = applied(spec(1, 3, 1), route.RoundRobin)
	got := make(map[string]int)
	for range 30 {
		got[claim(t, r, route.Ask{}).Endpoint.ID]++
	}
	if len(got) != 3 || got["1-0"] != 10 || got["1-1"] != 10 {
		t.Errorf("round robin gave %v", got)
	}
}

func TestDownEndpoints(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := applied(spec(1, 2, 1), route.RoundRobin)
		f := claim(t, r, route.Ask{})
		down := f.Endpoint
		f.Unreached(time.Now(), true)
		if err := r.Claim(f, route.Ask{Now: time.Now()}); err != nil || f.Endpoint == down {
			t.Fatalf("after a refused dial the same request gets %v, %v", f.Endpoint, err)
		}
		f.Unreached(time.Now(), true)
		if err := r.Claim(f, route.Ask{Now: time.Now()}); !errors.Is(err, route.ErrUnreachable) {
			t.Fatalf("with all endpoints tried: %v", err)
		}
		f.Reset()
		// All are down: another request tries nevertheless, because that is cheaper than being wrong.
		claim(t, r, route.Ask{}).Done(route.Outcome{Now: time.Now()})

		up := claim(t, r, route.Ask{})
		up.Reached()
		for range 10 {
			if g := claim(t, r, route.Ask{}); g.Endpoint != up.Endpoint {
				t.Fatal("a request went to the endpoint that is down")
			}
		}
		<-time.After(10 * time.Second)
		trials := 0
		for range 10 {
			if g := claim(t, r, route.Ask{}); g.Endpoint != up.Endpoint {
				trials++
			}
		}
		if trials != 1 {
			t.Errorf("after the back-off %d requests tried the endpoint, want 1", trials)
		}
	})
}

// An endpoint that refuses trial after trial, each at once, is tried after 250 ms, and then after twice as long each
// time, until that is 5 s. Whoever finds out beside a trial changes nothing, and one that takes a connection begins anew.
func TestBackOffDoubles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := applied(spec(1, 2, 1), route.RoundRobin)
		up, down := claim(t, r, route.Ask{}), claim(t, r, route.Ask{})
		late, sick := claim(t, r, route.Ask{}), down.Endpoint
		for late.Endpoint != sick {
			late = claim(t, r, route.Ask{})
		}
		up.Reached()
		refused := time.Now()
		down.Unreached(refused, true)
		late.Unreached(time.Now(), true)
		for _, milliseconds := range []int{250, 500, 1000, 2000, 4000, 5000, 5000} {
			want := time.Duration(milliseconds) * time.Millisecond
			trial := trialOf(t, r, sick)
			if after := time.Since(refused); after != want {
				t.Fatalf("tried again after %s, want %s", after, want)
			}
			refused = time.Now()
			trial.Unreached(refused, true)
		}
		trialOf(t, r, sick).Reached()
		again := trialOf(t, r, sick)
		refused = time.Now()
		again.Unreached(refused, true)
		again = trialOf(t, r, sick)
		if after := time.Since(refused); after != 250*time.Millisecond {
			t.Errorf("after it was well it was tried again after %s", after)
		}
		// While a trial dials for longer than the back-off there is another one: both find out the same.
		second := trialOf(t, r, sick)
		refused = time.Now()
		again.Unreached(refused, true)
		second.Unreached(refused, true)
		trialOf(t, r, sick)
		if after := time.Since(refused); after != 500*time.Millisecond {
			t.Errorf("after two trials at the same time it was tried again after %s", after)
		}
	})
}

// trialOf sends requests until one gets the endpoint.
func trialOf(t *testing.T, r *route.Route, e *route.Endpoint) *route.Flight {
	t.Helper()
	for began := time.Now(); time.Since(began) < time.Minute; <-time.After(10 * time.Millisecond) {
		for range 2 { // in turn
			f := claim(t, r, route.Ask{})
			if f.Endpoint == e {
				return f
			}
			f.Done(route.Outcome{Now: time.Now()})
		}
	}
	t.Fatal("the endpoint was not tried within a minute")
	return nil
}

func TestPoolWithoutEndpointsLeavesItsShare(t *testing.T) {
	s := spec(1, 1, 1, 1)
	s.Pools[0].Endpoints = nil
	r := applied(s, route.LeastInFlight)
	for range 10 {
		if f := claim(t, r, route.Ask{}); f.Revision != 2 {
			t.Fatalf("revision %d, which has no endpoint", f.Revision)
		}
	}
	var f route.Flight
	if err := applied(spec(1, 1, 0), route.LeastInFlight).Claim(&f, route.Ask{Now: time.Now()}); !errors.Is(err, route.ErrNoEndpoint) {
		t.Errorf("no pool has a weight: %v", err)
	}
}

func TestPreview(t *testing.T) {
	s := spec(1, 1, 1, 0, 0)
	s.Pools[1].Preview = true
	r := applied(s, route.LeastInFlight)
	r.Hold(sdk.HoldLimits{})
	defer r.Release()
	if f := claim(t, r, route.Ask{Preview: 2}); f.Revision != 2 || !f.Preview {
		t.Errorf("the preview went to revision %d", f.Revision)
	}
	for _, revision := range []int{1, 3, 7} {
		var f route.Flight
		if err := r.Claim(&f, route.Ask{Now: time.Now(), Preview: revision}); !errors.Is(err, route.ErrNoPreview) {
			t.Errorf("preview of revision %d: %v", revision, err)
		}
	}
}

// I7 and I8 in small: whatever claims do meanwhile, none gets an endpoint of a pool that was replaced
// before the claim began.
func TestNoClaimAfterApply(t *testing.T) {
	r := applied(spec(1, 2, 1), route.LeastInFlight)
	var done atomic.Uint64 // generation whose Apply has returned
	done.Store(1)
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for range 4 {
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
					t.Error(err)
					return
				}
				if uint64(f.Revision) < least {
					t.Errorf("claimed revision %d after Apply of %d had returned", f.Revision, least)
				}
				f.Done(route.Outcome{Now: time.Now()})
			}
		})
	}
	for g := uint64(2); g < 2000; g++ {
		s := spec(g, 2, 1)
		s.Pools[0].Revision = int(g)
		for i := range s.Pools[0].Endpoints {
			s.Pools[0].Endpoints[i].ID = fmt.Sprint(g, "-", i)
		}
		r.Apply(s, &route.Options{})
		done.Store(g)
	}
	close(stop)
	wg.Wait()
	if o := r.Observe(time.Now()); len(o.Draining) != 0 {
		t.Errorf("with nothing in flight, draining is %v", o.Draining)
	}
}

func TestDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := applied(spec(1, 1, 1), route.LeastInFlight)
		var aborted atomic.Int64
		stays, ends := claim(t, r, route.Ask{}), claim(t, r, route.Ask{})
		stays.Abort = func() { aborted.Add(1) }
		ends.Abort = func() { t.Error("a flight that had ended was aborted") }
		next := spec(2, 1, 0, 1)
		next.Pools = next.Pools[1:]
		r.Apply(next, &route.Options{})
		o := r.Observe(time.Now())
		if len(o.Draining) != 1 || o.Draining[0].InFlight != 2 || o.Draining[0].State != sdk.EndpointDraining {
			t.Fatalf("draining is %+v", o.Draining)
		}
		ends.Done(route.Outcome{Now: time.Now()})
		<-time.After(59 * time.Second)
		synctest.Wait()
		if aborted.Load() != 0 {
			t.Fatal("aborted before the deadline")
		}
		<-time.After(2 * time.Second)
		synctest.Wait()
		if n := aborted.Load(); n != 1 {
			t.Fatalf("aborted %d times after the deadline", n)
		}
		stays.Done(route.Outcome{Aborted: true, Now: time.Now()})
		if !r.Quiet() {
			t.Error("not quiet after the last flight")
		}
	})
}

func TestEndpointComesBackWhileItDrains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := applied(spec(1, 1, 1), route.LeastInFlight)
		f := claim(t, r, route.Ask{})
		f.Abort = func() { t.Error("aborted, though the endpoint is back") }
		r.Apply(sdk.Route{ID: "web", Generation: 2, Drain: time.Second}, &route.Options{})
		r.Apply(spec(3, 1, 1), &route.Options{})
		<-time.After(time.Hour)
		synctest.Wait()
		o := r.Observe(time.Now())
		if len(o.Draining) != 0 || o.Pools[0].Endpoints[0].InFlight != 1 || o.Pools[0].Endpoints[0].State != sdk.EndpointUp {
			t.Errorf("observed %+v", o)
		}
		f.Done(route.Outcome{Now: time.Now()})
	})
}

func TestWarmPoolGoesOn(t *testing.T) {
	r := applied(spec(1, 1, 1, 0), route.LeastInFlight)
	f := claim(t, r, route.Ask{})
	r.Apply(spec(2, 1, 0, 1), &route.Options{})
	o := r.Observe(time.Now())
	if len(o.Draining) != 0 || o.Pools[0].Endpoints[0].InFlight != 1 {
		t.Errorf("a pool of weight 0 is observed as %+v", o)
	}
	f.Done(route.Outcome{Now: time.Now()})
}

func TestCounters(t *testing.T) {
	r := applied(spec(1, 1, 1), route.LeastInFlight)
	for _, o := range []route.Outcome{{Latency: time.Millisecond}, {Failed: true, Latency: time.Millisecond}, {Aborted: true}, {Failed: true, Aborted: true}} {
		o.Now = time.Now()
		claim(t, r, route.Ask{}).Done(o)
	}
	claim(t, r, route.Ask{}).Unreached(time.Now(), false)
	e := r.Observe(time.Now()).Pools[0].Endpoints[0]
	if e.Requests != 2 || e.Errors != 1 || e.InFlight != 0 || e.Latency.Count != 2 {
		t.Errorf("counted %+v; aborted requests are nobody's, undelivered ones are not requests", e)
	}
	claim(t, r, route.Ask{}).Unreached(time.Now(), true)
	e = r.Observe(time.Now()).Pools[0].Endpoints[0]
	if e.Requests != 3 || e.Errors != 2 || e.State != sdk.EndpointDown {
		t.Errorf("after a refused dial: %+v", e)
	}
}

func BenchmarkClaim(b *testing.B) {
	r := applied(spec(1, 3, 1, 1), route.LeastInFlight)
	b.ReportAllocs()
	b.RunParallel(func(p *testing.PB) {
		f := &route.Flight{Abort: func() {}}
		for p.Next() {
			now := time.Now()
			if err := r.Claim(f, route.Ask{Now: now}); err != nil {
				b.Fatal(err)
			}
			f.Done(route.Outcome{Latency: time.Millisecond, Now: now})
		}
	})
}
