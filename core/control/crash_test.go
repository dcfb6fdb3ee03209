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

// The controller dies before and after each of its transactions, and another one takes over: the end is
// the same, no instance is made twice, and none is left that nobody knows.
func TestControllerKilledAtEveryTransaction(t *testing.T) {
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
