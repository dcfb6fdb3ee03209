package state_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/coretest"
	"github.com/instarhq/instar/core/state"
)

var meta = core.Meta{Principal: "test", Verb: "test"}

// following is a State that follows a store until the test ends.
func following(t *testing.T, store state.Source) *state.State {
	t.Helper()
	s := state.New(store)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("Run ended with %v", err)
		}
	})
	if err := s.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	return s
}

func web(count int) core.Service {
	return core.Service{Format: core.Format, Name: "web", Count: count}
}

func instance(id, service, node string) core.Instance {
	return core.Instance{Format: core.Format, ID: id, Service: service, Node: node}
}

func update(t *testing.T, s *state.State, fn func(tx *state.Tx)) core.Receipt {
	t.Helper()
	receipt, err := s.Update(t.Context(), meta, func(tx *state.Tx) error { fn(tx); return nil })
	if err != nil {
		t.Fatal(err)
	}
	return receipt
}

func TestUpdateIsSeenWhenItReturns(t *testing.T) {
	s := following(t, coretest.NewStore())
	before := s.View()
	receipt := update(t, s, func(tx *state.Tx) {
		state.Services.Put(tx, "web", web(3))
		if got, ok := state.Services.Get(tx, "web"); !ok || got.Count != 3 {
			t.Error("a transaction does not see its own write")
		}
	})
	view := s.View()
	got, err := state.Services.Find(view, "web")
	if err != nil || got.Count != 3 || view.Seq() != receipt.Seq || state.Services.Seq(view, "web") != receipt.Seq {
		t.Errorf("%+v at %d, %v", got, view.Seq(), err)
	}
	if _, err := state.Services.Find(before, "web"); !core.IsNotFound(err) {
		t.Errorf("an older view has changed: %v", err)
	}
	receipt = update(t, s, func(tx *state.Tx) { state.Services.Delete(tx, "web"); state.Services.Delete(tx, "none") })
	if state.Services.Seq(s.View(), "web") != 0 || receipt.Seq != 2 {
		t.Errorf("deleted at %d", receipt.Seq)
	}
}

func TestUpdateWithoutWritesProposesNothing(t *testing.T) {
	store := coretest.NewStore()
	s := following(t, store)
	receipt := update(t, s, func(tx *state.Tx) {
		state.Services.Put(tx, "web", web(1))
		state.Services.Delete(tx, "web")
	})
	if receipt.Seq != 0 || store.Seq() != 0 {
		t.Errorf("%+v, the log has %d records", receipt, store.Seq())
	}
	mine := errors.New("mine")
	if _, err := s.Update(t.Context(), meta, func(*state.Tx) error { return mine }); !errors.Is(err, mine) || err.Error() != "mine" {
		t.Errorf("the function's error became %v", err)
	}
}

func TestConcurrentUpdatesLoseNothing(t *testing.T) {
	s := following(t, coretest.NewStore())
	update(t, s, func(tx *state.Tx) { state.Services.Put(tx, "web", web(0)) })
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for range 5 {
				update(t, s, func(tx *state.Tx) {
					svc, _ := state.Services.Get(tx, "web")
					svc.Count++
					state.Services.Put(tx, "web", svc)
				})
			}
		})
	}
	group.Wait()
	if svc, _ := state.Services.Get(s.View(), "web"); svc.Count != 20 {
		t.Errorf("counted to %d", svc.Count)
	}
}

// late is a replica that learns of what others write only when told.
type late struct {
	*coretest.Store
	mu    sync.Mutex
	tries int
}

func (l *late) Propose(ctx context.Context, txn core.Txn) (core.Receipt, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.tries++; l.tries < 3 {
		return core.Receipt{}, core.Errorf(core.CodeConflict, "somebody else was faster")
	}
	return l.Store.Propose(ctx, txn)
}

func TestUpdateTriesAgainOnAReplicaThatIsBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &late{Store: coretest.NewStore()}
		s := following(t, store)
		update(t, s, func(tx *state.Tx) { state.Services.Put(tx, "web", web(1)) })
		if store.tries != 3 {
			t.Errorf("%d tries", store.tries)
		}
		store.tries = -1000
		_, err := s.Update(t.Context(), meta, func(tx *state.Tx) error {
			state.Services.Put(tx, "web", web(2))
			return nil
		})
		if !core.IsConflict(err) || !strings.Contains(err.Error(), "test: ") {
			t.Errorf("a conflict that does not end: %v", err)
		}
	})
}

func TestRequestIDIsAnsweredOnce(t *testing.T) {
	s := following(t, coretest.NewStore())
	once := meta
	once.RequestID = "r1"
	add := func(tx *state.Tx) error {
		if state.Services.Seq(tx, "web") != 0 {
			return core.Errorf(core.CodeConflict, "it is there")
		}
		state.Services.Put(tx, "web", web(1))
		return nil
	}
	first, err := s.Update(t.Context(), once, add)
	if err != nil || first.Replayed {
		t.Fatalf("%+v, %v", first, err)
	}
	for name, fn := range map[string]func(*state.Tx) error{"refused": add, "nothing to do": func(*state.Tx) error { return nil }} {
		again, err := s.Update(t.Context(), once, fn)
		if err != nil || !again.Replayed || again.Seq != first.Seq || again.LeafHash != first.LeafHash {
			t.Errorf("%s: %+v, %v", name, again, err)
		}
	}
	once.RequestID = "r2"
	if _, err := s.Update(t.Context(), once, add); !core.IsConflict(err) || err.Error() != "it is there" {
		t.Errorf("another request: %v", err)
	}
}

func TestIndexes(t *testing.T) {
	s := following(t, coretest.NewStore())
	update(t, s, func(tx *state.Tx) {
		for _, i := range []core.Instance{instance("web-2", "web", "n1"), instance("web-1", "web", "n2"), instance("web2-1", "web2", "n1")} {
			state.Instances.Put(tx, i.ID, i)
		}
	})
	ids := func(r state.Reader, index state.Index, key string) string {
		var out []string
		for id := range state.Instances.By(r, index, key) {
			out = append(out, id)
		}
		return fmt.Sprint(out)
	}
	v := s.View()
	if a, b, c := ids(v, state.ByService, "web"), ids(v, state.ByNode, "n1"), ids(v, state.ByService, "we"); a != "[web-1 web-2]" || b != "[web-2 web2-1]" || c != "[]" {
		t.Errorf("%s %s %s", a, b, c)
	}
	update(t, s, func(tx *state.Tx) {
		state.Instances.Put(tx, "web-2", instance("web-2", "web", "n3"))
		state.Instances.Delete(tx, "web-1")
		if a, b := ids(tx, state.ByService, "web"), ids(tx, state.ByNode, "n3"); a != "[web-2]" || b != "[web-2]" {
			t.Errorf("within the transaction: %s %s", a, b)
		}
	})
	var all []string
	for id := range state.Instances.All(s.View()) {
		all = append(all, id)
	}
	for id := range state.Instances.Prefix(s.View(), "web2") {
		all = append(all, id)
	}
	if fmt.Sprint(all) != "[web-2 web2-1 web2-1]" || ids(s.View(), state.ByNode, "n2") != "[]" {
		t.Errorf("%v", all)
	}
}

func TestLoadFindsWhatWasThereBefore(t *testing.T) {
	store := coretest.NewStore()
	update(t, following(t, store), func(tx *state.Tx) {
		state.Services.Put(tx, "web", web(3))
		state.Routes.Put(tx, "front", core.Route{Format: core.Format, Name: "front", Service: "web"})
		state.RouteStatuses.Put(tx, "front@n1/local", core.RouteStatus{Format: core.Format, Route: "front", Node: "n1"})
	})
	s := state.New(store)
	watch := s.Watch()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- s.Run(ctx) }()
	if err := s.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	if svc, ok := state.Services.Get(s.View(), "web"); !ok || svc.Count != 3 || s.View().Seq() != 1 {
		t.Errorf("%+v at %d", svc, s.View().Seq())
	}
	changes := watch.Take()
	if len(changes) != 3 {
		t.Errorf("%+v", changes)
	}
	for _, c := range changes {
		if c.Service != "web" || c.Seq != 1 {
			t.Errorf("%+v", c)
		}
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("Run ended with %v", err)
	}
	if err := state.New(store).Ready(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("ready before it runs: %v", err)
	}
	if err := s.Wait(ctx, 99); !errors.Is(err, context.Canceled) {
		t.Errorf("waited for what never comes: %v", err)
	}
}

func TestWatchCollectsAndNamesTheService(t *testing.T) {
	s := following(t, coretest.NewStore())
	watch := s.Watch()
	update(t, s, func(tx *state.Tx) {
		state.Routes.Put(tx, "front", core.Route{Format: core.Format, Name: "front", Service: "web"})
		state.Instances.Put(tx, "web-1", instance("web-1", "web", "n1"))
	})
	update(t, s, func(tx *state.Tx) {
		state.RouteStatuses.Put(tx, "front@n1/local", core.RouteStatus{Format: core.Format, Route: "front", Node: "n1"})
		state.Instances.Put(tx, "web-1", instance("web-1", "web", "n2"))
		state.Nodes.Put(tx, "n1", core.Node{Format: core.Format, Name: "n1"})
	})
	<-watch.Changed()
	var got []string
	for _, c := range watch.Take() {
		got = append(got, fmt.Sprintf("%s/%s of %q at %d", c.Kind, c.ID, c.Service, c.Seq))
	}
	slices.Sort(got)
	want := []string{`instance/web-1 of "web" at 2`, `node/n1 of "" at 2`, `route/front of "web" at 1`, `route_status/front@n1/local of "web" at 2`}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if again := watch.Take(); len(again) != 0 {
		t.Errorf("taken twice: %v", again)
	}
	watch.Stop()
	update(t, s, func(tx *state.Tx) { state.Instances.Delete(tx, "web-1") })
	if late := watch.Take(); len(late) != 0 {
		t.Errorf("collected after Stop: %v", late)
	}
}

func TestHistory(t *testing.T) {
	s := following(t, coretest.NewStore())
	for n := 1; n <= 3; n++ {
		update(t, s, func(tx *state.Tx) {
			tx.Describe("service.scale", fmt.Sprint("to ", n))
			state.Services.Put(tx, "web", web(n))
		})
	}
	then, err := state.Services.At(t.Context(), s, "web", 2)
	if err != nil || then.Count != 2 {
		t.Errorf("%+v, %v", then, err)
	}
	if _, err := state.Services.At(t.Context(), s, "other", 2); !core.IsNotFound(err) {
		t.Errorf("%v", err)
	}
	rec, err := s.Record(t.Context(), 3)
	if err != nil || rec.Seq != 3 || rec.Txn.Meta.Verb != "service.scale" || rec.Txn.Meta.Reason != "to 3" {
		t.Errorf("%+v, %v", rec, err)
	}
	op := rec.Txn.Ops[0]
	if svc, ok := state.Services.Decode(&op); !ok || svc.Count != 3 || state.ServiceOf(&op) != "web" {
		t.Errorf("%+v", svc)
	}
	if _, ok := state.Routes.Decode(&op); ok {
		t.Error("a service is no route")
	}
	if _, err := s.Record(t.Context(), 0); !core.IsNotFound(err) {
		t.Errorf("%v", err)
	}
}

func TestSizeIsAnUpperEstimate(t *testing.T) {
	store := coretest.NewStore()
	s := following(t, store)
	size := 0
	update(t, s, func(tx *state.Tx) {
		for i := range 100 {
			id := fmt.Sprintf("web-%d", i)
			state.Instances.Put(tx, id, instance(id, "web", "n1"))
			state.Instances.Put(tx, id, instance(id, "web", "n2")) // counts once
		}
		size = tx.Size()
	})
	rec, err := store.Record(t.Context(), 1)
	if err != nil || size < len(rec.Raw) || size > len(rec.Raw)*3/2 {
		t.Errorf("estimated %d bytes, took %d: %v", size, len(rec.Raw), err)
	}
}

func TestWhatCannotBeUnderstoodEndsRun(t *testing.T) {
	for name, op := range map[string]core.Op{
		"newer format": {Kind: core.KindService, ID: "web", Value: []byte(`{"format":99,"name":"web"}`)},
		"no JSON":      {Kind: core.KindService, ID: "web", Value: []byte(`{`)},
		"unknown kind": {Kind: "comet", ID: "web", Value: []byte(`{"format":1}`)},
	} {
		for _, loaded := range []bool{true, false} {
			store := coretest.NewStore()
			write := func() {
				if _, err := store.Propose(t.Context(), core.Txn{Meta: meta, Ops: []core.Op{op}}); err != nil {
					t.Fatal(err)
				}
			}
			if loaded {
				write()
			}
			s := state.New(store)
			ended := make(chan error, 1)
			go func() { ended <- s.Run(t.Context()) }()
			if !loaded {
				if err := s.Ready(t.Context()); err != nil {
					t.Fatal(err)
				}
				write()
			} else if op.Kind == "comet" {
				continue // nothing lists what nobody knows
			}
			if code := core.CodeOf(<-ended); code != core.CodeUnsupported && code != core.CodeCorrupt {
				t.Errorf("%s, loaded %t: ended with %s", name, loaded, code)
			}
		}
	}
}

// A log that was restored begins with a lineage, which must not stop those who read it.
func TestLineageIsRead(t *testing.T) {
	s := following(t, coretest.NewStore())
	want := core.Lineage{Format: core.Format, Origin: "test/1/2", Previous: core.TreeHead{Origin: "test/1/1", Size: 7}}
	update(t, s, func(tx *state.Tx) { state.Lineages.Put(tx, want.Origin, want) })
	if got, ok := state.Lineages.Get(s.View(), want.Origin); !ok || got != want {
		t.Errorf("%+v, %v", got, ok)
	}
}
