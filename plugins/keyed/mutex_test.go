package keyed_test

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/instarhq/instar/plugins/keyed"
)

func TestMutex(t *testing.T) {
	var m keyed.Mutex
	counts := map[string]*int{"a": new(int), "b": new(int)}
	var group sync.WaitGroup
	for range 50 {
		for key, count := range counts {
			group.Go(func() {
				unlock, err := m.Lock(t.Context(), key)
				if err != nil {
					t.Errorf("Lock: %v", err)
					return
				}
				defer unlock()
				*count++ // a race, unless the lock works
			})
		}
	}
	group.Wait()
	if *counts["a"] != 50 || *counts["b"] != 50 {
		t.Errorf("counts are %d and %d", *counts["a"], *counts["b"])
	}
}

// Whoever waits gives up when its context ends, and the lock stays usable.
func TestLockGivesUp(t *testing.T) {
	var m keyed.Mutex
	unlock, err := m.Lock(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	other, err := m.Lock(t.Context(), "b")
	if err != nil {
		t.Fatal("another key is locked too")
	}
	other()
	cause := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	if _, err := m.Lock(ctx, "a"); !errors.Is(err, cause) {
		t.Errorf("Lock gives %v, want the cause", err)
	}
	unlock()
	unlock, err = m.Lock(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	unlock()
}
