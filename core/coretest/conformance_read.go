package coretest

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/instarhq/instar/core"
)

func testAsOf(t *testing.T, s core.Store) {
	one := mustPropose(t, s, txn(put("a", "1", 0))).Seq
	two := mustPropose(t, s, txn(put("b", "1", 0))).Seq
	three := mustPropose(t, s, txn(put("a", "2", one))).Seq
	four := mustPropose(t, s, txn(del("a", three))).Seq
	five := mustPropose(t, s, txn(put("a", "3", 0), del("b", two))).Seq

	wantValue(t, s, "a", one, "1")
	wantAbsent(t, s, "b", one)
	if object := wantValue(t, s, "a", two, "1"); object.Seq != one || object.Created != one {
		t.Fatalf("a as of %d: %+v", two, object)
	}
	if object := wantValue(t, s, "a", three, "2"); object.Seq != three || object.Created != one {
		t.Fatalf("a as of %d: %+v", three, object)
	}
	wantAbsent(t, s, "a", four)
	wantValue(t, s, "b", four, "1")
	if object := wantValue(t, s, "a", five, "3"); object.Created != five {
		t.Fatalf("a as of %d: %+v", five, object)
	}
	wantAbsent(t, s, "b", five)
	wantAbsent(t, s, "never", five)

	for at, want := range map[uint64][]string{one: {"a"}, two: {"a", "b"}, three: {"a", "b"}, four: {"b"}, five: {"a"}, 0: {"a"}} {
		wantIDs(t, s, "", at, want)
	}
}

func testPrefix(t *testing.T, s core.Store) {
	ids := []string{"web", "web-2", "web/1", "web/2", "web/10", "wea", "x", "é", "web/"}
	for _, id := range ids {
		mustPropose(t, s, txn(put(id, "1", 0), core.Op{Kind: core.KindRoute, ID: id, Value: []byte("2")}))
	}
	slices.Sort(ids)
	wantIDs(t, s, "", 0, ids)
	wantIDs(t, s, "web/", 0, []string{"web/", "web/1", "web/10", "web/2"})
	wantIDs(t, s, "web/1", 0, []string{"web/1", "web/10"})
	wantIDs(t, s, "é", 0, []string{"é"})
	wantIDs(t, s, "nothing", 0, nil)
	wantIDs(t, s, "web", 1, []string{"web"})
	if objects, err := s.List(testContext(t), core.KindConfig, "", 0); err != nil || len(objects) != 0 {
		t.Fatalf("list of a kind without objects: %v, %v", objects, err)
	}
	// A kind whose name begins with another's must not show up in the other's list.
	mustPropose(t, s, txn(core.Op{Kind: core.KindRouteStatus, ID: "only", Value: []byte("3")}))
	objects, err := s.List(testContext(t), core.KindRoute, "", 0)
	if err != nil || len(objects) != len(ids) {
		t.Fatalf("list of routes: %d objects, %v; want %d", len(objects), err, len(ids))
	}
}

func wantIDs(t *testing.T, s core.Store, prefix string, at uint64, want []string) {
	t.Helper()
	objects, err := s.List(testContext(t), core.KindService, prefix, at)
	if err != nil {
		t.Fatalf("list %q as of %d: %v", prefix, at, err)
	}
	var got []string
	for _, object := range objects {
		got = append(got, object.ID)
		single, err := s.Get(testContext(t), core.KindService, object.ID, at)
		if err != nil || single.Seq != object.Seq || single.Created != object.Created || string(single.Value) != string(object.Value) {
			t.Fatalf("list gives %+v, get gives %+v (%v)", object, single, err)
		}
	}
	if !slices.Equal(got, want) {
		t.Fatalf("list %q as of %d: %q, want %q", prefix, at, got, want)
	}
}

func testFuture(t *testing.T, s core.Store) {
	seq := mustPropose(t, s, txn(put("a", "1", 0))).Seq
	_, err := s.Get(testContext(t), core.KindService, "a", seq+1)
	wantCode(t, err, core.CodeUnavailable, "")
	_, err = s.List(testContext(t), core.KindService, "", seq+1)
	wantCode(t, err, core.CodeUnavailable, "")
}

// testReadWhileWriting reads pairs that are only ever written together.
func testReadWhileWriting(t *testing.T, s core.Store) {
	mustPropose(t, s, txn(put("left", "0", 0), put("right", "0", 0)))
	const writes = 50
	var group sync.WaitGroup
	done := make(chan struct{})
	for range 2 {
		group.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				objects, err := s.List(context.Background(), core.KindService, "", 0)
				if err != nil || len(objects) != 2 || string(objects[0].Value) != string(objects[1].Value) || objects[0].Seq != objects[1].Seq {
					t.Errorf("torn read: %+v, %v", objects, err)
					return
				}
			}
		})
	}
	for i := range writes {
		value := fmt.Sprint(i)
		seq := mustPropose(t, s, txn(put("left", value, core.AnySeq), put("right", value, core.AnySeq))).Seq
		wantValue(t, s, "left", seq, value) // one reads one's own writes
	}
	close(done)
	group.Wait()
}
