package raftstore

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/audit"
	"github.com/instarhq/instar/raftstore/fsm"
)

func testQueue(now func() time.Time) *queue {
	q := newQueue(now, "n1")
	q.resume(0)
	return q
}

func TestQueueStampsInOrder(t *testing.T) {
	clock := time.Unix(100, 0)
	q := testQueue(func() time.Time { return clock })
	q.resume(time.Unix(200, 0).UnixNano()) // the log is ahead of this node's clock
	times := func() (times []int64) {
		for group := q.take(); len(group) > 0; group = q.take() {
			for _, p := range group {
				txn, err := audit.Decode(p.raw)
				if err != nil {
					t.Fatal(err)
				}
				times = append(times, txn.Meta.Time.Unix())
			}
		}
		return times
	}
	for _, second := range []int64{100, 300, 250, 301} {
		clock = time.Unix(second, 0)
		if _, err := addTo(q, writeTxn("a", "x")); err != nil {
			t.Fatal(err)
		}
	}
	if got := fmt.Sprint(times()); got != "[200 300 300 301]" {
		t.Fatalf("stamped %s", got)
	}
}

func TestQueueIsBounded(t *testing.T) {
	q := testQueue(time.Now)
	var err error
	added := 0
	for ; err == nil; added++ {
		_, err = addTo(q, writeTxn("a", strings.Repeat("x", 1<<19)))
	}
	e, ok := core.AsError(err)
	if !ok || e.Code != core.CodeUnavailable || e.RetryAfter == 0 || added < queueBytes>>19 {
		t.Fatalf("after %d proposals: %v", added, err)
	}
	if group := q.take(); len(group) != 1 {
		t.Fatalf("a group of %d large proposals", len(group))
	}
	q = testQueue(time.Now)
	for err = nil; err == nil; {
		_, err = addTo(q, writeTxn("a", "x"))
	}
	if len(q.waiting) != queueProposals || core.CodeOf(err) != core.CodeUnavailable {
		t.Fatalf("%d proposals are queued, %v", len(q.waiting), err)
	}
	if group := q.take(); len(group) != groupProposals {
		t.Fatalf("a group of %d small proposals", len(group))
	}
}

func TestQueuePause(t *testing.T) {
	q := testQueue(time.Now)
	done := make(chan fsm.Outcome, 1)
	if _, err := q.add(writeTxn("a", "x"), time.Time{}, func(outcome fsm.Outcome) { done <- outcome }); err != nil {
		t.Fatal(err)
	}
	q.pause(core.Errorf(core.CodeNotLeader, "gone"))
	if outcome := <-done; core.CodeOf(outcome.Err) != core.CodeNotLeader {
		t.Fatalf("what waited got %+v", outcome)
	}
	if _, err := addTo(q, writeTxn("a", "x")); core.CodeOf(err) != core.CodeNotLeader {
		t.Fatalf("got %v", err)
	}
	q.resume(0)
	p, err := addTo(q, writeTxn("a", "x"))
	if err != nil || len(q.waiting) != 1 {
		t.Fatalf("%d, %v", len(q.waiting), err)
	}
	if !q.withdraw(p) || q.withdraw(p) || len(q.waiting) != 0 || q.bytes != 0 {
		t.Fatal("withdrawing does not work")
	}
	q.close(core.Errorf(core.CodeUnavailable, "closed"))
	q.resume(0)
	q.pause(core.Errorf(core.CodeNotLeader, "gone"))
	if _, err := addTo(q, writeTxn("a", "x")); core.CodeOf(err) != core.CodeUnavailable {
		t.Fatalf("a closed queue answered %v", err)
	}
}

// TestDeadlineInFlight ends the caller's patience while the entry is being written.
func TestDeadlineInFlight(t *testing.T) {
	s := openStore(t, Config{Dir: t.TempDir()})
	unknownOutcome, refused := 0, 0
	for i := 0; unknownOutcome == 0 && i < 2000; i++ {
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i%40)*20*time.Microsecond)
		txn := writeTxn(fmt.Sprint(i), strings.Repeat("x", 200_000))
		_, err := s.Propose(ctx, txn)
		cancel()
		if err == nil {
			continue
		}
		if core.CodeOf(err) != core.CodeTimeout || !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("got %v", err)
		}
		if !strings.Contains(err.Error(), "not known") {
			refused++
			continue
		}
		unknownOutcome++
		// The promise: the same request id has one outcome, whichever it was.
		first, err := s.Propose(t.Context(), txn)
		if err != nil {
			t.Fatal(err)
		}
		second, err := s.Propose(t.Context(), txn)
		if err != nil || second.Seq != first.Seq || !second.Replayed {
			t.Fatalf("%+v, then %+v, %v", first, second, err)
		}
	}
	if unknownOutcome == 0 {
		t.Fatalf("no deadline met a write in flight; %d were over before", refused)
	}
}

// TestCloseWhileWriting closes the store under its writers: nobody may hang, and every answer is right.
func TestCloseWhileWriting(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, Config{Dir: dir})
	var group sync.WaitGroup
	var mu sync.Mutex
	var receipts []acked
	for w := range 8 {
		group.Go(func() {
			for i := 0; ; i++ {
				id := fmt.Sprint(w, "-", i)
				receipt, err := s.Propose(context.Background(), writeTxn(id, "x"))
				if err == nil {
					mu.Lock()
					receipts = append(receipts, acked{receipt, id})
					mu.Unlock()
					continue
				}
				if code := core.CodeOf(err); code != core.CodeUnavailable && code != core.CodeTimeout && code != core.CodeNotLeader {
					t.Errorf("writer %d got %v", w, err)
				}
				return
			}
		})
	}
	eventually(t, "writes come through", func() bool { return s.Seq() > 50 })
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	group.Wait()
	s = openStore(t, Config{Dir: dir})
	head, err := s.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	proveAll(t, s, head, receipts)
}

func TestLead(t *testing.T) {
	s := openStore(t, Config{Dir: t.TempDir()})
	done := errors.New("done")
	if err := s.Lead(t.Context(), func(ctx context.Context) error {
		if !s.IsLeader() || s.Leader() != "n1" {
			t.Error("the leader does not know that it is")
		}
		_, err := s.Propose(ctx, writeTxn("a", "x"))
		return errors.Join(done, err)
	}); !errors.Is(err, done) {
		t.Fatalf("got %v", err)
	}
	ended := make(chan error, 1)
	started := make(chan struct{})
	go func() {
		ended <- s.Lead(context.Background(), func(ctx context.Context) error {
			close(started)
			<-ctx.Done()
			return ctx.Err()
		})
	}()
	<-started
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; core.CodeOf(err) != core.CodeUnavailable {
		t.Fatalf("Lead of a closed store ended with %v", err)
	}
}

// TestStalledDisk lets a write to the log hang, on a fake clock.
func TestStalledDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		failed := make(chan error, 1)
		l := &durableLog{stall: 20 * time.Second, fail: func(err error) { failed <- err }}
		release := make(chan struct{})
		result := make(chan error, 1)
		go func() { result <- l.watch("append", func() error { <-release; return nil }) }()
		<-time.After(19 * time.Second)
		synctest.Wait()
		if len(failed) != 0 {
			t.Fatal("the store gave up too early")
		}
		<-time.After(2 * time.Second)
		if err := <-failed; !strings.Contains(err.Error(), "20s") {
			t.Fatalf("got %v", err)
		}
		close(release)
		if err := <-result; err == nil {
			t.Fatal("the write that was given up is reported as done")
		}
		if err := l.StoreLogs(nil); !errors.Is(err, errLogDown) {
			t.Fatalf("got %v", err)
		}
	})
}

func addTo(q *queue, txn core.Txn) (*proposal, error) {
	return q.add(txn, time.Time{}, func(fsm.Outcome) {})
}

// TestQueueDropsWhatNobodyWaitsFor: a proposal whose time is over when its turn comes is not proposed.
func TestQueueDropsWhatNobodyWaitsFor(t *testing.T) {
	q := testQueue(time.Now)
	outcomes := make(chan fsm.Outcome, 1)
	if _, err := q.add(writeTxn("late", "x"), time.Now().Add(-time.Second), func(o fsm.Outcome) { outcomes <- o }); err != nil {
		t.Fatal(err)
	}
	if _, err := addTo(q, writeTxn("in time", "x")); err != nil {
		t.Fatal(err)
	}
	if group := q.take(); len(group) != 1 || len(q.waiting) != 0 || q.bytes != 0 {
		t.Errorf("a group of %d, %d wait with %d bytes", len(group), len(q.waiting), q.bytes)
	}
	if o := <-outcomes; core.CodeOf(o.Err) != core.CodeTimeout {
		t.Errorf("%+v", o)
	}
}
