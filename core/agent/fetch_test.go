package agent_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/sdk"
)

// slowFetch is a Fetch of 1000 bytes that says ten times a second how far it is, until it has taken so long. It is stuck
// between the given times.
func slowFetch(takes, stuck, goesOn time.Duration) func(context.Context, func(sdk.FetchProgress)) error {
	return func(ctx context.Context, progress func(sdk.FetchProgress)) error {
		began := time.Now()
		for tick := time.NewTicker(100 * time.Millisecond); ; {
			select {
			case <-ctx.Done():
				tick.Stop()
				return ctx.Err()
			case <-tick.C:
			}
			past := time.Since(began)
			if past >= takes {
				tick.Stop()
				return nil
			}
			if past < stuck || past >= goesOn {
				progress(sdk.FetchProgress{Done: int64(1000 * past / takes), Total: 1000})
			}
		}
	}
}

// fetching are the instances whose status says how far the artifact is.
func (n *node) fetching(ids ...string) (tellers []string, f core.Fetch) {
	for _, id := range ids {
		if s := n.status(id); s.Fetch != nil {
			tellers, f = append(tellers, id), *s.Fetch
		}
	}
	return tellers, f
}

func TestFetchIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		n.compute.onFetch = slowFetch(60*time.Second, 20*time.Second, 40*time.Second)
		ids := []string{"web-a", "web-b", "web-c"}
		n.deploy(revision(nil), ids...)
		n.after(15 * time.Second)
		before := n.store.Seq()
		tellers, f := n.fetching(ids...)
		if len(tellers) != 1 || f.Total != 1000 || f.Done < 200 || f.Done > 250 {
			t.Fatalf("after a quarter of the time %v tell %+v, want one of them about 250 of 1000 bytes", tellers, f)
		}
		// Each of the three is said to be creating after a second; beyond that there is one report a second at most.
		if before > 1+3+15 {
			t.Errorf("%d records after 15 s", before)
		}
		n.after(10 * time.Second)
		stuck := n.store.Seq()
		n.after(10 * time.Second)
		if n.store.Seq() != stuck {
			t.Errorf("%d records of a fetch that stands still", n.store.Seq()-stuck)
		}
		n.after(20 * time.Second)
		if _, f := n.fetching(ids...); f.Done < 800 {
			t.Errorf("it goes on, and %+v is told", f)
		}
		n.after(6 * time.Second)
		for _, id := range ids {
			if s := n.wantPhase(id, core.InstanceRunning); s.Fetch != nil {
				t.Errorf("%s runs and still fetches: %+v", id, s.Fetch)
			}
		}
	})
}

func TestFetchIsToldByAnotherInstance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		n.compute.onFetch = slowFetch(time.Minute, 0, 0)
		ids := []string{"web-a", "web-b"}
		n.deploy(revision(nil), ids...)
		n.after(10 * time.Second)
		first, _ := n.fetching(ids...)
		if len(first) != 1 {
			t.Fatalf("%v tell, want one", first)
		}
		n.desire(first[0], core.DesiredDestroy)
		n.after(10 * time.Second)
		second, f := n.fetching(ids...)
		if len(second) != 1 || second[0] == first[0] || f.Done < 280 {
			t.Errorf("%s is not wanted any more; %v tell %+v", first[0], second, f)
		}
	})
}

func TestLongFetchIsToldLessOften(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		n.compute.onFetch = slowFetch(time.Hour, 0, 0)
		n.deploy(revision(nil), "web-a")
		before := n.store.Seq()
		n.after(59 * time.Minute)
		if wrote := n.store.Seq() - before; wrote < 50 || wrote > 160 {
			t.Errorf("%d records of an hour, want about 130", wrote)
		}
		if _, f := n.fetching("web-a"); f.Done < 900 {
			t.Errorf("%+v is told", f)
		}
	})
}

func TestQuickFetchIsNotTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		n.compute.onFetch = slowFetch(900*time.Millisecond, 0, 0)
		n.deploy(revision(nil), "web-a")
		before := n.store.Seq()
		n.after(5 * time.Second)
		n.wantPhase("web-a", core.InstanceRunning)
		if wrote := n.store.Seq() - before; wrote > 2 { // running, healthy
			t.Errorf("%d records", wrote)
		}
	})
}
