package control_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/state"
)

// story is what an operator does, with everything that control has to do for it: a deployment, an
// upgrade with a change of the count, one that fails, one that is aborted in the bake, a rollback to the
// warm revision, an end.
func story(w *world) string {
	var told []string
	note := func(service string) {
		v := w.state.View()
		for id, r := range state.Rollouts.By(v, state.ByService, service) {
			told = append(told, id+" "+r.Phase.String())
		}
	}
	w.apply(version("shop", 1, 2))
	w.rest("shop", 1, 2)
	w.apply(version("shop", 2, 3))
	w.rest("shop", 2, 3)
	w.set(func() { w.failing["shop-3.tar.gz"] = &core.Failure{Message: "no such command", Permanent: true} })
	w.apply(version("shop", 3, 1))
	w.phase("shop/3", core.RolloutFailed)
	w.rest("shop", 2, 3)
	w.apply(version("shop", 4, 2))
	w.phase("shop/4", core.RolloutBaking)
	_, err := w.ops.Abort(w.ctx, ann(), "shop/4")
	w.must(err)
	w.rest("shop", 2, 3)
	w.apply(version("shop", 5, 3))
	w.phase("shop/5", core.RolloutRetiring)
	_, err = w.ops.Rollback(w.ctx, ann(), "shop", 0)
	w.must(err)
	w.rest("shop", 2, 3)
	note("shop")
	_, err = w.ops.Delete(w.ctx, ann(), "shop")
	w.must(err)
	w.until("nothing left", func(v *state.View) bool { return state.Services.Seq(v, "shop") == 0 })
	w.orphans()
	w.set(func() { told = append(told, fmt.Sprintf("%d at the backend", len(w.backend))) })
	return strings.Join(told, ", ")
}

// rollingStory replaces instances a few at a time: there, half-way and back, there with another count, to one
// that fails, to one that another one supersedes half-way, and back by a rollback. Meanwhile a route never has
// fewer healthy instances than wanted.
func rollingStory(w *world) string {
	w.apply(rolling(1, 3))
	w.rest("shop", 1, 3)
	half := func(rollout string, revision int) {
		w.until(rollout+" has replaced one", func(v *state.View) bool {
			r, _ := state.Rollouts.Get(v, rollout)
			return r.Phase == core.RolloutSwitching && w.enough(v, 3) && w.serving(v, revision) > 0
		})
	}
	w.apply(rolling(2, 3))
	half("shop/2", 2)
	_, err := w.ops.Abort(w.ctx, ann(), "shop/2")
	w.must(err)
	w.phase("shop/2", core.RolloutRolledBack)
	w.rest("shop", 1, 3)
	w.apply(rolling(3, 4))
	w.rest("shop", 3, 4)
	w.set(func() { w.failing["shop-4.tar.gz"] = &core.Failure{Message: "no such command", Permanent: true} })
	w.apply(rolling(4, 3))
	w.phase("shop/4", core.RolloutFailed)
	w.rest("shop", 3, 4)
	w.apply(rolling(5, 4))
	half("shop/5", 5)
	w.apply(rolling(6, 4))
	w.phase("shop/6", core.RolloutSucceeded)
	w.rest("shop", 6, 4)
	_, err = w.ops.Rollback(w.ctx, ann(), "shop", 3)
	w.must(err)
	w.rest("shop", 3, 4)
	var told []string
	for id, r := range state.Rollouts.By(w.state.View(), state.ByService, "shop") {
		told = append(told, id+" "+r.Phase.String())
	}
	_, err = w.ops.Delete(w.ctx, ann(), "shop")
	w.must(err)
	w.until("nothing left", func(v *state.View) bool { return state.Services.Seq(v, "shop") == 0 })
	w.orphans()
	return strings.Join(told, ", ")
}

// serving is how many healthy instances of a revision the shop's route sends to.
func (w *world) serving(v *state.View, revision int) int {
	route, _ := state.Routes.Get(v, "shop")
	n := 0
	for _, p := range route.Pools {
		for _, e := range p.Endpoints {
			if s, _ := state.InstanceStatuses.Get(v, e.Instance); p.Weight > 0 && p.Revision == revision && s.Healthy {
				n++
			}
		}
	}
	return n
}

// enough fails the test if fewer healthy instances than least serve.
func (w *world) enough(v *state.View, least int) bool {
	n := 0
	for revision := 1; revision <= 6; revision++ {
		n += w.serving(v, revision)
	}
	if n < least {
		w.t.Errorf("I2: %d healthy instances serve, %d at least", n, least)
	}
	return n >= least
}

// The controller dies before and after each of its transactions, and another one takes over: the end is
// the same, no instance is made twice, and none is left that nobody knows.
func TestControllerKilledAtEveryTransaction(t *testing.T) { killedAtEveryTransaction(t, story) }

func TestControllerKilledAtEveryTransactionOfRollingRollouts(t *testing.T) {
	killedAtEveryTransaction(t, rollingStory)
}

func killedAtEveryTransaction(t *testing.T, story func(w *world) string) {
	total, want := 0, ""
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		want = story(w)
		total = w.store.transactions()
	})
	if total < 30 {
		t.Fatalf("the story takes %d transactions", total)
	}
	for at := 1; at <= total; at++ {
		for _, after := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d/after=%t", at, after), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t)
					w.store.crashAt(at, after, w.kill)
					if got := story(w); got != want {
						t.Errorf("the end is   %s\nand should be %s", got, want)
					}
				})
			})
		}
	}
}
