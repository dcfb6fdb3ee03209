package coretest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/instarhq/instar/core"
)

// take reads n records after the given one and checks that they follow one another.
func take(ctx context.Context, s core.Feed, after uint64, n int) ([]core.Record, error) {
	var records []core.Record
	if n == 0 {
		return nil, nil
	}
	for record, err := range s.Changes(ctx, after) {
		if err != nil {
			return records, err
		}
		if want := after + uint64(len(records)) + 1; record.Seq != want {
			return records, fmt.Errorf("feed gave record %d, want %d", record.Seq, want)
		}
		if records = append(records, record); len(records) == n {
			return records, nil
		}
	}
	return records, errors.New("the feed ended without an error")
}

func testFeedFromAny(t *testing.T, s core.Store) {
	const n = 20
	for i := range n {
		mustPropose(t, s, txn(put(fmt.Sprint(i), "1", 0)))
	}
	for after := range uint64(n + 1) {
		records, err := take(testContext(t), s, after, n-int(after))
		if err != nil {
			t.Fatalf("after %d: %v", after, err)
		}
		for _, record := range records {
			same, err := s.Record(testContext(t), record.Seq)
			if err != nil || same.LeafHash != record.LeafHash || !slices.Equal(same.Raw, record.Raw) {
				t.Fatalf("feed and log disagree on record %d: %v", record.Seq, err)
			}
		}
	}
}

func testFeedWaits(t *testing.T, s core.Store) {
	type result struct {
		records []core.Record
		err     error
	}
	results := make(chan result, 2)
	for _, after := range []uint64{0, 3} { // the second begins in the future
		go func() {
			records, err := take(testContext(t), s, after, 5-int(after))
			results <- result{records, err}
		}()
	}
	for i := range 5 {
		mustPropose(t, s, txn(put(fmt.Sprint(i), "1", 0)))
	}
	for range 2 {
		if r := <-results; r.err != nil {
			t.Fatal(r.err)
		}
	}
}

func testFeedEnds(t *testing.T, s core.Store) {
	mustPropose(t, s, txn(put("a", "1", 0)))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var seen []error
	for _, err := range s.Changes(ctx, 0) {
		seen = append(seen, err)
		cancel()
	}
	if len(seen) != 2 || seen[0] != nil || !errors.Is(seen[1], context.Canceled) {
		t.Fatalf("feed gave %v, want one record and then the context's error", seen)
	}
	seen = nil
	for _, err := range s.Changes(ctx, 0) {
		seen = append(seen, err)
	}
	if last := len(seen) - 1; last < 0 || !errors.Is(seen[last], context.Canceled) {
		t.Fatalf("a feed on an ended context gave %v", seen)
	}
}

func testFeedGapFree(t *testing.T, s core.Store) {
	const writers, writes, readers = 8, 25, 4
	ctx := testContext(t)
	var group sync.WaitGroup
	feeds := make([][]core.Record, readers)
	for i := range readers {
		group.Go(func() {
			records, err := take(ctx, s, 0, writers*writes)
			if err != nil {
				t.Errorf("reader %d after %d records: %v", i, len(records), err)
			}
			feeds[i] = records
		})
	}
	for w := range writers {
		group.Go(func() {
			for i := range writes {
				if _, err := s.Propose(ctx, txn(put(fmt.Sprintf("%d-%d", w, i), "1", 0))); err != nil {
					t.Errorf("writer %d: %v", w, err)
					return
				}
			}
		})
	}
	group.Wait()
	seen := make(map[string]bool)
	for _, record := range feeds[0] {
		seen[record.Txn.Ops[0].ID] = true
	}
	if len(seen) != writers*writes {
		t.Fatalf("feed has %d of %d writes", len(seen), writers*writes)
	}
	for i := 1; i < len(feeds[0]); i++ {
		if feeds[0][i].Txn.Meta.Time.Before(feeds[0][i-1].Txn.Meta.Time) {
			t.Fatalf("record %d is older than its predecessor", i+1)
		}
	}
}
