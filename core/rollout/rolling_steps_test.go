package rollout_test

import (
	"fmt"
	"testing"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/rollout"
)

// atEveryStep rolls from revision 1 to 2, does something after so many acts, and lets everything come to its
// end: never fewer than least serve meanwhile, until the rollout is over before that.
func atEveryStep(t *testing.T, least int, do func(t *testing.T, w *world), end func(t *testing.T, w *world)) {
	t.Helper()
	for at := 0; ; at++ {
		w := rollingWorld(t, 4, "1", "0")
		must(t, w.apply(2, 4))
		for range at {
			acts(t, w, 4)
		}
		if w.rollout().Phase == core.RolloutBaking {
			if at < 15 {
				t.Fatalf("it took %d steps", at)
			}
			return
		}
		t.Run(fmt.Sprintf("%d %s", at, w.rollout().Phase), func(t *testing.T) {
			do(t, w)
			steady(t, w, least)
			end(t, w)
		})
	}
}

func TestAbortAtEveryStep(t *testing.T) {
	atEveryStep(t, 4, func(t *testing.T, w *world) {
		c, err := rollout.Abort(w.view(), "abort asked for by ann")
		must(t, err)
		w.change(c)
	}, func(t *testing.T, w *world) {
		want := core.RolloutFailed
		if r := w.rollout(); !r.SwitchedAt.IsZero() {
			want = core.RolloutRolledBack
		}
		if r := w.rollout(); r.Phase != want || r.Failure.Message != "abort asked for by ann" {
			t.Errorf("%s: %+v", r.Phase, r.Failure)
		}
		wantEnd(t, w, 1, 4)
	})
}

func TestSupersedeAtEveryStep(t *testing.T) {
	for name, c := range map[string]struct {
		to, active int
		prepare    func(w *world)
	}{
		"by a good one":     {3, 3, func(*world) {}},
		"by the one before": {1, 1, func(*world) {}},
		"by blue-green":     {3, 3, func(w *world) { w.specs[3] = specOf("web") }},
		"by one that fails": {3, 0, func(w *world) { w.bad[3] = true }},
		"by a blue-green one that fails": {3, 0, func(w *world) {
			w.specs[3], w.bad[3] = specOf("web"), true
		}},
	} {
		t.Run(name, func(t *testing.T) {
			switched := false
			atEveryStep(t, 4, func(t *testing.T, w *world) {
				c.prepare(w)
				switched = w.service.Active == 2
				must(t, w.apply(c.to, 4))
			}, func(t *testing.T, w *world) {
				active := c.active
				if active == 0 {
					active = 1
				}
				if c.active == 0 && switched {
					active = 2 // it goes on to the one that was about to take over
				}
				wantEnd(t, w, active, 4)
			})
		})
	}
}

// What is active is wanted again while a rollout that superseded a rolling one has not switched.
func TestSupersedeTwice(t *testing.T) {
	for _, active := range []int{2, 1} {
		w := rollingWorld(t, 4, "1", "0")
		must(t, w.apply(2, 4))
		until(t, w, core.RolloutSwitching)
		acts(t, w, 4)
		must(t, w.apply(3, 4))
		if r := w.rollout(); len(r.Others) != 1 || r.Others[0] != 1 || r.From != 2 {
			t.Fatalf("from %d, others %v", r.From, r.Others)
		}
		acts(t, w, 4)
		must(t, w.apply(active, 5))
		steady(t, w, 4)
		wantEnd(t, w, active, 5)
	}
}

func TestScaleAtEveryStep(t *testing.T) {
	for count, least := range map[int]int{7: 4, 2: 2, 0: 0} {
		atEveryStep(t, least, func(t *testing.T, w *world) { must(t, w.scale(count)) }, func(t *testing.T, w *world) {
			wantEnd(t, w, 2, count)
		})
	}
}

func TestDrainAndDeathOfANodeAtEveryStep(t *testing.T) {
	for name, do := range map[string]func(t *testing.T, w *world){
		"drained": func(_ *testing.T, w *world) { w.drain("n1", "node n1 is drained") },
		"unreachable": func(t *testing.T, w *world) {
			w.node("n1", rollout.NodeUnreachable)
			for range 7 {
				acts(t, w, 1)
			}
			w.node("n1", rollout.NodeReady)
		},
		"down": func(_ *testing.T, w *world) {
			w.crash("n1")
			w.node("n1", rollout.NodeDown)
		},
	} {
		t.Run(name, func(t *testing.T) {
			least := 1 // what serves on the other node
			if name == "drained" {
				least = 4
			}
			atEveryStep(t, least, do, func(t *testing.T, w *world) {
				w.drain("n1", "")
				w.node("n1", rollout.NodeReady)
				want := 2
				if r := w.rollout(); !r.Phase.Good() {
					want = 1
				}
				wantEnd(t, w, want, 4)
			})
		})
	}
}
