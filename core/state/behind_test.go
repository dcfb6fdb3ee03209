package state_test

import (
	"context"
	"iter"
	"testing"
	"testing/synctest"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/coretest"
	"github.com/instarhq/instar/core/state"
)

// gated is a store whose records reach the view only when the gate is open, as on a machine that is busy.
type gated struct {
	*coretest.Store
	gate chan struct{}
}

func (g *gated) Changes(ctx context.Context, after uint64) iter.Seq2[core.Record, error] {
	return func(yield func(core.Record, error) bool) {
		for record, err := range g.Store.Changes(ctx, after) {
			if err == nil {
				<-g.gate
			}
			if !yield(record, err) {
				return
			}
		}
	}
}

// What the store has and the view does not have yet is no reason to refuse anything, or to leave it undone.
func TestNobodyIsRefusedForAViewThatIsBehind(t *testing.T) {
	for name, absent := range map[string]error{"refused": core.Errorf(core.CodeNotFound, "there is no service web"), "nothing to do": nil} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := &gated{Store: coretest.NewStore(), gate: make(chan struct{})}
				s := following(t, store)
				put := core.Op{Kind: core.KindService, ID: "web", Value: []byte(`{"format":1,"name":"web","count":1}`)}
				if _, err := store.Propose(t.Context(), core.Txn{Meta: meta, Ops: []core.Op{put}}); err != nil {
					t.Fatal(err)
				}
				done := make(chan error, 1)
				go func() {
					_, err := s.Update(t.Context(), meta, func(tx *state.Tx) error {
						if _, there := state.Services.Get(tx, "web"); !there {
							return absent
						}
						state.Services.Put(tx, "web", web(2))
						return nil
					})
					done <- err
				}()
				synctest.Wait()
				select {
				case err := <-done:
					t.Errorf("decided on a view that is behind: %v", err)
					close(store.gate)
				default:
					close(store.gate)
					if err := <-done; err != nil {
						t.Error(err)
					}
				}
				if svc, _ := state.Services.Get(s.View(), "web"); svc.Count != 2 {
					t.Errorf("the service has the count %d", svc.Count)
				}
			})
		})
	}
}

// A refusal is final, so a request that is repeated gets none as long as nobody knows whether it was done.
func TestRequestIDThatNobodyCanAnswer(t *testing.T) {
	store := coretest.NewStore(coretest.WithFault(func(core.Txn) error { return core.Errorf(core.CodeUnavailable, "no leader") }))
	s := following(t, store)
	refuse := func(*state.Tx) error { return core.Errorf(core.CodeDenied, "used up") }
	once := meta
	once.RequestID = "r1"
	if _, err := s.Update(t.Context(), once, refuse); core.CodeOf(err) != core.CodeUnavailable {
		t.Errorf("with a request id: %v", err)
	}
	if _, err := s.Update(t.Context(), meta, refuse); core.CodeOf(err) != core.CodeDenied {
		t.Errorf("without one: %v", err)
	}
}
