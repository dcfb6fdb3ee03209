package coretest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/instarhq/instar/core"
)

func testReceipt(t *testing.T, s core.Store) {
	if s.Seq() != 0 {
		t.Fatalf("an empty store is at %d", s.Seq())
	}
	for want := uint64(1); want <= 3; want++ {
		receipt := mustPropose(t, s, txn(put("a", fmt.Sprint(want), core.AnySeq)))
		record, err := s.Record(testContext(t), receipt.Seq)
		if err != nil {
			t.Fatal(err)
		}
		head, err := s.Head(testContext(t))
		if err != nil {
			t.Fatal(err)
		}
		if receipt.Seq != want || s.Seq() != want || head.Size != want {
			t.Fatalf("write %d: receipt says %d, Seq %d, head %d", want, receipt.Seq, s.Seq(), head.Size)
		}
		if receipt.LeafHash != record.LeafHash || receipt.Origin != head.Origin || receipt.Origin == "" || receipt.Replayed {
			t.Fatalf("receipt %+v does not fit record %s of %q", receipt, record.LeafHash, head.Origin)
		}
	}
}

func testMeta(t *testing.T, s core.Store) {
	begin := time.Now().Add(-time.Minute)
	given := txn(put("a", "1", 0))
	given.Meta = core.Meta{
		Principal: "local:root", Verb: "service.apply", Reason: "because é", RequestID: "r-1", Cause: 7, Origin: "n9",
		Time: time.Unix(0, 0), // the leader's business: ignored
	}
	receipt := mustPropose(t, s, given)
	record, err := s.Record(testContext(t), receipt.Seq)
	if err != nil {
		t.Fatal(err)
	}
	got := record.Txn.Meta
	if got.Time.Before(begin) || got.Time.Location() != time.UTC {
		t.Fatalf("stamped with %v", got.Time)
	}
	got.Time = given.Meta.Time
	if got != given.Meta {
		t.Fatalf("meta came back as %+v, given %+v", got, given.Meta)
	}
	second := mustPropose(t, s, txn(put("b", "1", 0)))
	next, err := s.Record(testContext(t), second.Seq)
	if err != nil {
		t.Fatal(err)
	}
	if next.Txn.Meta.Time.Before(record.Txn.Meta.Time) || next.Txn.Meta.Origin == "" {
		t.Fatalf("meta of the second record: %+v", next.Txn.Meta)
	}
}

func testIfSeq(t *testing.T, s core.Store) {
	fails := func(op core.Op) {
		t.Helper()
		before := s.Seq()
		_, err := s.Propose(testContext(t), txn(op))
		wantCode(t, err, core.CodeConflict, "service/"+op.ID)
		if s.Seq() != before {
			t.Fatalf("a refused transaction left a record")
		}
	}
	fails(put("a", "x", 1))
	fails(del("a", 1))
	first := mustPropose(t, s, txn(put("a", "1", 0))).Seq
	fails(put("a", "x", 0))
	fails(put("a", "x", first+1))
	second := mustPropose(t, s, txn(put("a", "2", first))).Seq
	fails(put("a", "x", first))
	fails(del("a", first))
	object := wantValue(t, s, "a", 0, "2")
	if object.Seq != second || object.Created != first {
		t.Fatalf("object is from %d, made at %d; want %d and %d", object.Seq, object.Created, second, first)
	}
	third := mustPropose(t, s, txn(put("a", "3", core.AnySeq))).Seq
	mustPropose(t, s, txn(del("a", third)))
	wantAbsent(t, s, "a", 0)
	fails(put("a", "x", third))
	mustPropose(t, s, txn(del("a", core.AnySeq))) // of nothing: a record without effect
	wantAbsent(t, s, "a", 0)
	again := mustPropose(t, s, txn(put("a", "4", 0))).Seq
	if object := wantValue(t, s, "a", 0, "4"); object.Created != again || object.Seq != again {
		t.Fatalf("an object made anew at %d says created %d, seq %d", again, object.Created, object.Seq)
	}
}

func testAllOrNothing(t *testing.T, s core.Store) {
	a := mustPropose(t, s, txn(put("a", "1", 0), put("b", "1", 0))).Seq
	for _, ops := range [][]core.Op{
		{put("a", "2", a), put("b", "2", a+1)},
		{put("c", "2", 0), del("a", core.AnySeq), put("b", "2", 0)},
	} {
		_, err := s.Propose(testContext(t), txn(ops...))
		wantCode(t, err, core.CodeConflict, "service/b")
		wantValue(t, s, "a", 0, "1")
		wantValue(t, s, "b", 0, "1")
		wantAbsent(t, s, "c", 0)
	}
	seq := mustPropose(t, s, txn(put("a", "2", a), del("b", a), put("c", "2", 0))).Seq
	if object := wantValue(t, s, "a", 0, "2"); object.Seq != seq {
		t.Fatalf("a is from %d, want %d", object.Seq, seq)
	}
	wantValue(t, s, "c", 0, "2")
	wantAbsent(t, s, "b", 0)
}

func testInvalid(t *testing.T, s core.Store) {
	noPrincipal, noVerb := txn(put("a", "1", 0)), txn(put("a", "1", 0))
	noPrincipal.Meta.Principal, noVerb.Meta.Verb = "", ""
	kind := func(k core.Kind) core.Txn { return txn(core.Op{Kind: k, ID: "a", Value: []byte("1")}) }
	for name, bad := range map[string]core.Txn{
		"no operation":         txn(),
		"no principal":         noPrincipal,
		"no verb":              noVerb,
		"object twice":         txn(put("a", "1", 0), put("b", "1", 0), del("a", core.AnySeq)),
		"empty kind":           kind(""),
		"kind with a slash":    kind("ser/vice"),
		"kind in capitals":     kind("Service"),
		"kind with a zero":     kind("service\x00"),
		"empty id":             txn(put("", "1", 0)),
		"id with a zero":       txn(put("a\x00b", "1", 0)),
		"id with a newline":    txn(put("a\nb", "1", 0)),
		"id that is not UTF-8": txn(put("a\xff", "1", 0)),
		"put without value":    txn(put("a", "", 0)),
		"delete with value":    txn(core.Op{Kind: core.KindService, ID: "a", Delete: true, Value: []byte("1"), IfSeq: core.AnySeq}),
		"delete of nothing":    txn(del("a", 0)),
	} {
		_, err := s.Propose(testContext(t), bad)
		if core.CodeOf(err) != core.CodeInvalid {
			t.Errorf("%s: got %v (code %q), want code invalid", name, err, core.CodeOf(err))
		}
	}
	badText := txn(put("a", "1", 0))
	badText.Meta.Reason = "\xff"
	_, err := s.Propose(testContext(t), badText)
	wantCode(t, err, core.CodeInvalid, "")
	if s.Seq() != 0 {
		t.Fatalf("refused transactions left %d records", s.Seq())
	}
}

func testLimits(t *testing.T, s core.Store) {
	big := strings.Repeat("x", core.MaxValueBytes)
	longest := strings.Repeat("i", core.MaxIDBytes)
	mustPropose(t, s, txn(put(longest, big, 0)))
	wantValue(t, s, longest, 0, big)

	_, err := s.Propose(testContext(t), txn(put("a", big+"x", 0)))
	wantCode(t, err, core.CodeTooLarge, "service/a")
	_, err = s.Propose(testContext(t), txn(put(longest+"i", "1", 0)))
	wantCode(t, err, core.CodeTooLarge, "")
	_, err = s.Propose(testContext(t), txn(put("a", big, 0), put("b", big, 0), put("c", big, 0), put("d", big, 0)))
	wantCode(t, err, core.CodeTooLarge, "")
	long := txn(put("a", "1", 0))
	long.Meta.RequestID = strings.Repeat("r", 256)
	_, err = s.Propose(testContext(t), long)
	wantCode(t, err, core.CodeTooLarge, "")
	if s.Seq() != 1 {
		t.Fatalf("refused transactions left records: the store is at %d", s.Seq())
	}
	mustPropose(t, s, txn(put("a", big, 0), put("b", big, 0), put("c", big, 0)))
	wantValue(t, s, "c", 0, big)
}

func testReplay(t *testing.T, s core.Store) {
	request := txn(put("a", "1", 0))
	request.Meta.RequestID = "request-1"
	first := mustPropose(t, s, request)
	mustPropose(t, s, txn(put("a", "2", first.Seq)))
	second := mustPropose(t, s, request) // would be a conflict if it were not a replay
	if !second.Replayed {
		t.Fatalf("the second answer does not say that it is a replay: %+v", second)
	}
	second.Replayed = false
	if second != first {
		t.Fatalf("the second answer is %+v, the first was %+v", second, first)
	}
	wantValue(t, s, "a", 0, "2")

	refused := txn(put("a", "3", 0))
	refused.Meta.RequestID = "request-2"
	_, err := s.Propose(testContext(t), refused)
	wantCode(t, err, core.CodeConflict, "service/a")
	refused.Ops[0].IfSeq = core.AnySeq
	if receipt := mustPropose(t, s, refused); receipt.Replayed || receipt.Seq != 3 {
		t.Fatalf("a refused request id was not free: %+v", receipt)
	}
}

func testConcurrentReplay(t *testing.T, s core.Store) {
	request := txn(put("a", "1", core.AnySeq))
	request.Meta.RequestID = "same"
	const writers = 16
	receipts := make([]core.Receipt, writers)
	var group sync.WaitGroup
	for i := range writers {
		group.Go(func() {
			receipt, err := s.Propose(context.Background(), request)
			if err != nil {
				t.Errorf("writer %d: %v", i, err)
			}
			receipts[i] = receipt
		})
	}
	group.Wait()
	fresh := 0
	for _, receipt := range receipts {
		if receipt.Seq != 1 {
			t.Errorf("receipt %+v, want sequence number 1", receipt)
		}
		if !receipt.Replayed {
			fresh++
		}
	}
	if fresh != 1 || s.Seq() != 1 {
		t.Fatalf("%d writers of one request id: %d first answers, %d records", writers, fresh, s.Seq())
	}
}

// testConcurrentCounter lets writers race on one object: every success must build on the value that
// the writer read, so no increment is lost.
func testConcurrentCounter(t *testing.T, s core.Store) {
	const writers, rounds = 8, 10
	mustPropose(t, s, txn(put("counter", "0", 0)))
	var group sync.WaitGroup
	for range writers {
		group.Go(func() {
			for done := 0; done < rounds; {
				object, err := s.Get(context.Background(), core.KindService, "counter", 0)
				if err != nil {
					t.Error(err)
					return
				}
				var n int
				if _, err := fmt.Sscan(string(object.Value), &n); err != nil {
					t.Error(err)
					return
				}
				_, err = s.Propose(context.Background(), txn(put("counter", fmt.Sprint(n+1), object.Seq)))
				switch {
				case err == nil:
					done++
				case !core.IsConflict(err):
					t.Error(err)
					return
				}
			}
		})
	}
	group.Wait()
	wantValue(t, s, "counter", 0, fmt.Sprint(writers*rounds))
	if s.Seq() != writers*rounds+1 {
		t.Fatalf("%d successful writes left %d records", writers*rounds+1, s.Seq())
	}
}

func testEndedContext(t *testing.T, s core.Store) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := s.Propose(ctx, txn(put("a", "1", 0)))
	wantCode(t, err, core.CodeTimeout, "")
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("%v does not wrap the context's error", err)
	}
}

func testSharesNoMemory(t *testing.T, s core.Store) {
	value := []byte("original")
	receipt := mustPropose(t, s, txn(core.Op{Kind: core.KindService, ID: "a", Value: value}))
	copy(value, "mutilate")
	object := wantValue(t, s, "a", 0, "original")
	copy(object.Value, "mutilate")
	wantValue(t, s, "a", 0, "original")
	objects, err := s.List(testContext(t), core.KindService, "", 0)
	if err != nil || len(objects) != 1 {
		t.Fatalf("list: %v, %v", objects, err)
	}
	copy(objects[0].Value, "mutilate")
	wantValue(t, s, "a", receipt.Seq, "original")
}
