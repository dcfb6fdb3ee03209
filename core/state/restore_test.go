package state_test

import (
	"context"
	"fmt"
	"iter"
	"sync"
	"testing"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/coretest"
	"github.com/instarhq/instar/core/state"
)

// replaceable is a source whose log can be replaced, as a restore does.
type replaceable struct {
	mu    sync.Mutex
	store *coretest.Store
	gone  context.Context
	end   context.CancelFunc
}

func newReplaceable() *replaceable {
	r := &replaceable{}
	r.replace(coretest.NewStore())
	return r
}

func (r *replaceable) replace(store *coretest.Store) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.end != nil {
		r.end()
	}
	r.store = store
	r.gone, r.end = context.WithCancel(context.Background())
}

func (r *replaceable) now() (*coretest.Store, context.Context) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.store, r.gone
}

func (r *replaceable) Propose(ctx context.Context, txn core.Txn) (core.Receipt, error) {
	store, _ := r.now()
	return store.Propose(ctx, txn)
}

func (r *replaceable) Seq() uint64 { store, _ := r.now(); return store.Seq() }

func (r *replaceable) Get(ctx context.Context, kind core.Kind, id string, at uint64) (core.Object, error) {
	store, _ := r.now()
	return store.Get(ctx, kind, id, at)
}

func (r *replaceable) List(ctx context.Context, kind core.Kind, prefix string, at uint64) ([]core.Object, error) {
	store, _ := r.now()
	return store.List(ctx, kind, prefix, at)
}

func (r *replaceable) Changes(ctx context.Context, after uint64) iter.Seq2[core.Record, error] {
	store, gone := r.now()
	return func(yield func(core.Record, error) bool) {
		both, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(gone, cancel)()
		for record, err := range store.Changes(both, after) {
			if gone.Err() != nil {
				err = fmt.Errorf("%w", core.ErrReplaced)
			}
			if !yield(record, err) || err != nil {
				return
			}
		}
	}
}

// TestRestoreIsFollowed replaces the log by a shorter one with other objects.
func TestRestoreIsFollowed(t *testing.T) {
	source := newReplaceable()
	s := following(t, source)
	update(t, s, func(tx *state.Tx) {
		state.Services.Put(tx, "web", web(3))
		state.Instances.Put(tx, "web-1", instance("web-1", "web", "n1"))
		state.Services.Put(tx, "gone", core.Service{Format: core.Format, Name: "gone"})
	})
	update(t, s, func(tx *state.Tx) { state.Services.Put(tx, "web", web(4)) })
	watch := s.Watch()
	defer watch.Stop()

	restored := coretest.NewStore(coretest.WithOrigin("test/0000000000000000/2"))
	old := following(t, restored)
	update(t, old, func(tx *state.Tx) { state.Services.Put(tx, "web", web(2)) })
	source.replace(restored)

	marked := map[string]bool{}
	for len(marked) < 3 {
		select {
		case <-watch.Changed():
		case <-t.Context().Done():
			t.Fatal(marked)
		}
		for _, change := range watch.Take() {
			marked[string(change.Kind)+"/"+change.ID+" of "+change.Service] = true
		}
	}
	for _, want := range []string{"service/web of web", "service/gone of gone", "instance/web-1 of web"} {
		if !marked[want] {
			t.Errorf("%s is not marked: %v", want, marked)
		}
	}
	view := s.View()
	if got, ok := state.Services.Get(view, "web"); !ok || got.Count != 2 || view.Seq() != 1 {
		t.Errorf("%+v at %d", got, view.Seq())
	}
	if _, ok := state.Instances.Get(view, "web-1"); ok {
		t.Error("an object of before the restore is still there")
	}
	receipt := update(t, s, func(tx *state.Tx) { state.Services.Put(tx, "web", web(5)) })
	if receipt.Seq != 2 || s.View().Seq() != 2 {
		t.Errorf("after the restore: %+v, view at %d", receipt, s.View().Seq())
	}
}
