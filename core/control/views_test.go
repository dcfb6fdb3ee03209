package control_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"sync"
	"testing"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/control"
	"github.com/instarhq/instar/core/coretest"
	"github.com/instarhq/instar/core/state"
)

// following is a State over a store in memory.
func following(t *testing.T) *state.State {
	t.Helper()
	st := state.New(coretest.NewStore())
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- st.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	if err := st.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	return st
}

// scramble writes and deletes some instances and statuses of three services, in one transaction.
func scramble(ctx context.Context, st *state.State, random *rand.Rand) error {
	n := 1 + random.IntN(30)
	if random.IntN(10) == 0 {
		n = 400 // a service comes, or goes, as a whole
	}
	deletes := random.IntN(4)
	_, err := st.Update(ctx, core.Meta{Principal: "test", Verb: "scramble"}, func(tx *state.Tx) error {
		for range n {
			service := fmt.Sprintf("s%d", random.IntN(3))
			id := fmt.Sprintf("%s-%03d", service, random.IntN(200))
			switch {
			case random.IntN(4) < deletes:
				state.Instances.Delete(tx, id)
				if random.IntN(2) == 0 {
					state.InstanceStatuses.Delete(tx, id)
				}
			case random.IntN(2) == 0:
				state.Instances.Put(tx, id, core.Instance{Format: core.Format, ID: id, Service: service, Revision: random.IntN(9)})
			default:
				state.InstanceStatuses.Put(tx, id, core.InstanceStatus{Format: core.Format, ID: id, Service: service, Phase: core.InstanceRunning, Healthy: random.IntN(2) == 0})
			}
		}
		return nil
	})
	return err
}

// What control keeps from step to step is what reading everything gives, for every snapshot, also for
// one that is older than the changes that are known already.
func TestIncrementalViewIsTheWholeView(t *testing.T) {
	st := following(t)
	incremental, whole, refresh := control.Views(st)
	random := rand.New(rand.NewPCG(3, 4))
	for round := range 600 {
		view := st.View()
		for range random.IntN(3) {
			if err := scramble(t.Context(), st, random); err != nil {
				t.Fatal(err)
			}
		}
		if random.IntN(50) == 0 {
			refresh()
		}
		service := fmt.Sprintf("s%d", random.IntN(3))
		got, want := incremental(view, service), whole(view, service)
		if len(got) != len(want) || len(want) > 0 && !reflect.DeepEqual(got, want) {
			t.Fatalf("round %d: %s has %d instances, want %d:\n%+v\n%+v", round, service, len(got), len(want), got, want)
		}
	}
}

// The same, with a worker for each service and writers beside them.
func TestIncrementalViewWhileOthersWrite(t *testing.T) {
	st := following(t)
	incremental, whole, _ := control.Views(st)
	ctx, cancel := context.WithCancel(t.Context())
	var writers, workers sync.WaitGroup
	for i := range 2 {
		writers.Go(func() {
			random := rand.New(rand.NewPCG(5, uint64(i)))
			for ctx.Err() == nil {
				if err := scramble(ctx, st, random); err != nil && ctx.Err() == nil && !core.IsConflict(err) {
					t.Error(err)
					return
				}
			}
		})
	}
	for i := range 3 {
		workers.Go(func() {
			service := fmt.Sprintf("s%d", i)
			for range 150 {
				view := st.View()
				got, want := incremental(view, service), whole(view, service)
				if len(got) != len(want) || len(want) > 0 && !reflect.DeepEqual(got, want) {
					t.Errorf("as of %d %s has %d instances, want %d", view.Seq(), service, len(got), len(want))
					return
				}
			}
		})
	}
	workers.Wait()
	cancel()
	writers.Wait()
}
