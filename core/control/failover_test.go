package control_test

import (
	"context"
	"iter"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/control"
	"github.com/instarhq/instar/core/state"
)

// replica is another node's view of a store: it learns of every record a while later.
type replica struct {
	*crashing
	lag time.Duration
}

// Changes implements core.Feed.
func (r *replica) Changes(ctx context.Context, after uint64) iter.Seq2[core.Record, error] {
	return func(yield func(core.Record, error) bool) {
		for rec, err := range r.crashing.Changes(ctx, after) {
			select {
			case <-time.After(r.lag):
			case <-ctx.Done():
			}
			if !yield(rec, err) {
				return
			}
		}
	}
}

// Two leaders at once, the second of which knows everything too late: what they decide conflicts, or is
// the same. No instance is made that one alone would not have made, and the end is the same.
func TestTwoLeadersAtOnce(t *testing.T) {
	want, made := "", 0
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		want = story(w)
		made = len(w.made)
	})
	for _, lag := range []time.Duration{time.Microsecond, 10 * time.Millisecond, 150 * time.Millisecond, 900 * time.Millisecond} {
		t.Run(lag.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				second(t, w, lag)
				if got := story(w); got != want {
					t.Errorf("the end is   %s\nand should be %s", got, want)
				}
				w.set(func() {
					if len(w.made) != made {
						t.Errorf("%d instances were made, one leader makes %d", len(w.made), made)
					}
				})
			})
		})
	}
}

// What a service needs in its steady state changes nothing but instances: two leaders that replace one at
// the same moment make one, not two, and do not each send another one away.
func TestTwoLeadersReplaceOnce(t *testing.T) {
	for _, lag := range []time.Duration{time.Microsecond, 10 * time.Millisecond, 150 * time.Millisecond} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			second(t, w, lag)
			w.apply(version("shop", 1, 4))
			w.rest("shop", 1, 4)
			for round := range 5 {
				before := 0
				lost := w.instances()[round%4]
				w.set(func() { w.missing[lost], before = true, len(w.made) })
				w.until("another one", func(v *state.View) bool { return state.Instances.Seq(v, lost) == 0 })
				w.rest("shop", 1, 4)
				w.set(func() {
					if n := len(w.made) - before; n != 1 {
						t.Errorf("lag %s: %d instances were made for one", lag, n)
					}
				})
			}
			before := w.instances()
			if _, err := w.ops.Scale(w.ctx, ann(), "shop", 3); err != nil {
				t.Fatal(err)
			}
			w.rest("shop", 1, 3)
			w.set(func() {
				if len(w.made) != 4+5 {
					t.Errorf("lag %s: %d instances were made in all (before: %v)", lag, len(w.made), before)
				}
			})
		})
	}
}

// second runs a controller on a replica that lags.
func second(t *testing.T, w *world, lag time.Duration) {
	ctx, cancel := context.WithCancel(t.Context())
	view := state.New(&replica{w.store, lag})
	var group sync.WaitGroup
	group.Go(func() { _ = view.Run(ctx) })
	group.Go(func() { _ = control.New(control.Config{State: view}).Run(ctx) })
	t.Cleanup(func() { cancel(); group.Wait() })
}

// Leadership ends and begins again all the time, in the middle of whatever is under way, and the one that
// gets it may not have caught up yet nor be alone.
func TestLeadershipThatMovesAllTheTime(t *testing.T) {
	want := ""
	synctest.Test(t, func(t *testing.T) { want = story(newWorld(t)) })
	for _, every := range []time.Duration{70 * time.Millisecond, 330 * time.Millisecond, 1700 * time.Millisecond} {
		t.Run(every.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				synctest.Wait()
				ctx, cancel := context.WithCancel(t.Context())
				late := state.New(&replica{w.store, 100 * time.Millisecond})
				var group sync.WaitGroup
				group.Go(func() { _ = late.Run(ctx) })
				group.Go(func() {
					for ctx.Err() == nil {
						term, end := context.WithTimeout(ctx, every)
						_ = control.New(control.Config{State: late}).Run(term)
						end()
						w.kill()
						<-time.After(every / 3)
					}
				})
				t.Cleanup(func() { cancel(); group.Wait() })
				if got := story(w); got != want {
					t.Errorf("the end is   %s\nand should be %s", got, want)
				}
			})
		})
	}
}
