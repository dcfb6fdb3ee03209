package state_test

import (
	"fmt"
	"iter"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/coretest"
	"github.com/instarhq/instar/core/state"
)

// Every view shows what was there when it was taken, in every index, whatever is written afterwards and
// by transactions that come to nothing.
func TestViewsNeverChange(t *testing.T) {
	s := following(t, coretest.NewStore())
	random := rand.New(rand.NewPCG(1, 2))
	model := map[string]core.Instance{}
	type taken struct {
		view  *state.View
		model map[string]core.Instance
	}
	var views []taken
	for range 150 {
		update(t, s, func(tx *state.Tx) {
			for range 1 + random.IntN(40) {
				id := fmt.Sprintf("i%03d", random.IntN(400))
				if random.IntN(3) == 0 {
					state.Instances.Delete(tx, id)
					delete(model, id)
					continue
				}
				inst := instance(id, fmt.Sprintf("s%d", random.IntN(3)), fmt.Sprintf("n%d", random.IntN(3)))
				inst.Revision = random.IntN(1000)
				state.Instances.Put(tx, id, inst)
				model[id] = inst
			}
			compare(t, tx, model)
		})
		_, _ = s.Update(t.Context(), meta, func(tx *state.Tx) error {
			for id := range state.Instances.All(tx) {
				state.Instances.Delete(tx, id)
			}
			compare(t, tx, nil)
			return fmt.Errorf("thought better of it")
		})
		views = append(views, taken{s.View(), maps.Clone(model)})
	}
	for _, v := range views {
		compare(t, v.view, v.model)
	}
}

func compare(t *testing.T, r state.Reader, want map[string]core.Instance) {
	t.Helper()
	check := func(what string, got []string, is func(core.Instance) bool) {
		t.Helper()
		var ids []string
		for _, id := range slices.Sorted(maps.Keys(want)) {
			if is(want[id]) {
				ids = append(ids, id)
			}
		}
		if !slices.Equal(got, ids) {
			t.Fatalf("%s: %v, want %v", what, got, ids)
		}
	}
	var all []string
	for id, inst := range state.Instances.All(r) {
		all = append(all, id)
		if again, ok := state.Instances.Get(r, id); inst != want[id] || again != inst || !ok {
			t.Fatalf("%s is %+v and %+v, want %+v", id, inst, again, want[id])
		}
	}
	check("all", all, func(core.Instance) bool { return true })
	for i := range 3 {
		service, node := fmt.Sprintf("s%d", i), fmt.Sprintf("n%d", i)
		check(service, keysOf(state.Instances.By(r, state.ByService, service)), func(i core.Instance) bool { return i.Service == service })
		check(node, keysOf(state.Instances.By(r, state.ByNode, node)), func(i core.Instance) bool { return i.Node == node })
	}
	check("prefix", keysOf(state.Instances.Prefix(r, "i1")), func(i core.Instance) bool { return i.ID[1] == '1' })
}

// A loop over a table sees what was there when it began, and may write to it.
func TestLoopMayWriteWhatItReads(t *testing.T) {
	s := following(t, coretest.NewStore())
	update(t, s, func(tx *state.Tx) {
		for i := range 500 {
			id := fmt.Sprintf("i%03d", i)
			state.Instances.Put(tx, id, instance(id, "web", "n1"))
		}
		seen := 0
		for id := range state.Instances.By(tx, state.ByService, "web") {
			seen++
			state.Instances.Delete(tx, id)
			state.Instances.Put(tx, "j"+id, instance("j"+id, "web", "n1"))
		}
		if left := keysOf(state.Instances.Prefix(tx, "i")); seen != 500 || len(left) != 0 {
			t.Errorf("saw %d, left %v", seen, left)
		}
	})
	if n := len(keysOf(state.Instances.All(s.View()))); n != 500 {
		t.Errorf("%d objects", n)
	}
}

func keysOf[T any](objects iter.Seq2[string, T]) []string {
	var ids []string
	for id := range objects {
		ids = append(ids, id)
	}
	return ids
}
