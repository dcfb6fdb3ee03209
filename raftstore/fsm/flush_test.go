package fsm

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/audit"
)

// readings is all that can be read from a machine, at every record.
func readings(t testing.TB, m *Machine) string {
	t.Helper()
	var out strings.Builder
	seq := m.Position().Seq
	for at := range seq + 1 {
		objects, err := m.List(core.KindService, "", at)
		fmt.Fprintln(&out, at, objects, err)
		objects, err = m.List(core.KindService, "a", at)
		fmt.Fprintln(&out, at, objects, err)
		for _, id := range []string{"a", "ab", "none"} {
			object, err := m.Get(core.KindService, id, at)
			fmt.Fprintln(&out, at, object, err)
		}
		if at > 0 {
			record, err := m.Record(at)
			fmt.Fprintln(&out, at, record, err)
		}
		records, _, err := m.Records(at, 3, 1<<20)
		fmt.Fprintln(&out, at, records, err)
		err = m.Tree(func(nodes audit.Nodes, head core.TreeHead) error {
			root, err := audit.RootAt(nodes, at)
			fmt.Fprintln(&out, at, head, root, err)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return out.String()
}

// crash gives a machine on a copy of another one's file, as a process finds it that follows a killed one.
func crash(t testing.TB, m *Machine, path string) *Machine {
	t.Helper()
	m.flush.Lock() // a flush that is cut short leaves the file before it, or after it
	data, err := os.ReadFile(m.path)
	m.flush.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return openAt(t, path, Options{})
}

// TestAnyFlushGivesTheSameState applies one log at once, and in batches with flushes, crashes and replays
// of the log in between: file, and what can be read at any moment, are the same.
func TestAnyFlushGivesTheSameState(t *testing.T) {
	run, crashes := 0, 0
	rapid.Check(t, func(r *rapid.T) {
		entries := drawLog(r, t)
		run++
		dir := filepath.Join(t.TempDir(), fmt.Sprint(run))
		if err := os.Mkdir(dir, 0o700); err != nil {
			r.Fatal(err)
		}
		one := openAt(t, filepath.Join(dir, "one"), Options{Window: 5})
		defer func() { shut(t, one) }()
		apply(t, one, entries...)
		inMemory := readings(t, one)

		other := openAt(t, filepath.Join(dir, "other"), Options{Window: 5})
		defer func() { shut(t, other) }()
		for at := 0; at < len(entries); {
			n := rapid.IntRange(1, len(entries)-at).Draw(r, "batch")
			apply(t, other, entries[at:at+n]...)
			at += n
			switch rapid.IntRange(0, 4).Draw(r, "then") {
			case 0:
				flush(t, other)
			case 1:
				killed := other
				crashes++
				other = crash(t, killed, filepath.Join(dir, fmt.Sprint("other-", crashes)))
				shut(t, killed)
				at = rapid.IntRange(0, at).Draw(r, "replay from")
				for at > 0 && entries[at-1].Index > other.Position().RaftIndex {
					at-- // the log reaches back to where the file is
				}
			}
		}
		if got := readings(t, other); got != inMemory {
			r.Fatalf("at once:\n%s\nwith flushes and crashes:\n%s", inMemory, got)
		}
		if a, b := content(t, one), content(t, other); a != b {
			r.Fatalf("at once:\n%s\nwith flushes and crashes:\n%s", a, b)
		}
		if got := readings(t, one); got != inMemory {
			r.Fatalf("in memory:\n%s\nin the file:\n%s", inMemory, got)
		}
		verify(t, one)
	})
}

// The story that writers tell and readers check: record n writes object n%5, or deletes it if n is
// divisible by 7, and always writes the object "last". So what is there is known for any n.
const storyObjects = 5

func storyRecord(t testing.TB, n uint64) []byte {
	id := fmt.Sprint("o", n%storyObjects)
	value := fmt.Append(nil, n)
	op := core.Op{Kind: core.KindService, ID: id, Value: value, IfSeq: core.AnySeq}
	if n%7 == 0 {
		op = del(id, core.AnySeq)
	}
	return encode(t, int64(n), fmt.Sprint("r", n), op, core.Op{Kind: core.KindService, ID: "last", Value: value, IfSeq: core.AnySeq}) //nolint:gosec // small
}

// checkStory compares a list as of some record with what it must be, and says which record that is.
func checkStory(objects []core.Object) (last uint64, err error) {
	got := make(map[string]string)
	for _, object := range objects {
		got[object.ID] = string(object.Value)
		if object.ID == "last" {
			last = object.Seq
		}
	}
	want := make(map[string]string)
	if last > 0 {
		want["last"] = fmt.Sprint(last)
	}
	for n := last; n > 0 && n+storyObjects > last; n-- {
		if n%7 != 0 {
			want[fmt.Sprint("o", n%storyObjects)] = fmt.Sprint(n)
		}
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		return last, fmt.Errorf("at %d there is %v, want %v", last, got, want)
	}
	return last, nil
}

// readStory reads in every way until the story ends.
func readStory(m *Machine, end uint64) error {
	for seen := uint64(0); seen < end; {
		objects, err := m.List(core.KindService, "", 0)
		if err != nil {
			return err
		}
		last, err := checkStory(objects)
		switch {
		case err != nil:
			return err
		case last < seen:
			return fmt.Errorf("a read went back from %d to %d", seen, last)
		case last == 0:
			continue
		}
		seen = last
		at := 1 + rand.Uint64N(seen)
		if objects, err = m.List(core.KindService, "", at); err != nil {
			return err
		}
		if last, err = checkStory(objects); err != nil || last != at {
			return fmt.Errorf("read as of %d gave %d: %w", at, last, err)
		}
		object, err := m.Get(core.KindService, "last", at)
		if err != nil || object.Seq != at || object.Created != 1 {
			return fmt.Errorf("get as of %d gave %+v: %w", at, object, err)
		}
		if err := readLog(m, at, seen); err != nil {
			return err
		}
	}
	return nil
}

func readLog(m *Machine, at, seen uint64) error {
	records, _, err := m.Records(at-1, 20, 1<<20)
	if err != nil || len(records) == 0 || uint64(len(records)) < min(20, seen-at) {
		return fmt.Errorf("%d records after %d: %w", len(records), at-1, err)
	}
	for i, record := range records {
		if record.Seq != at+uint64(i) || record.Txn.Meta.RequestID != fmt.Sprint("r", record.Seq) {
			return fmt.Errorf("record %d after %d is %d, %q", i, at-1, record.Seq, record.Txn.Meta.RequestID)
		}
	}
	return m.Tree(func(nodes audit.Nodes, head core.TreeHead) error {
		path, err := audit.ProveInclusion(nodes, at, head.Size)
		if err != nil {
			return err
		}
		if head.Size < seen {
			return fmt.Errorf("the head went back from %d to %d", seen, head.Size)
		}
		return audit.VerifyInclusion(head, at, records[0].LeafHash, path)
	})
}

// TestReadsDuringFlushes lets readers check every state that they see while records are applied and
// flushed, verified and copied.
func TestReadsDuringFlushes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	m := openAt(t, path, Options{Window: 100, AfterFunc: time.AfterFunc, FlushEvery: time.Millisecond})
	apply(t, m, identityEntry(t))
	const end = 3000
	var readers sync.WaitGroup
	check := func(name string, work func() error) {
		readers.Go(func() {
			if err := work(); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
	for range 3 {
		check("read", func() error { return readStory(m, end) })
	}
	check("verify", func() error {
		for m.Position().Seq < end {
			if err := m.Verify(context.Background()); err != nil {
				return err
			}
		}
		return nil
	})
	check("copy", func() error {
		for m.Position().Seq < end {
			before := m.Position()
			err := m.WriteTo(io.Discard, func(position Position, _ []byte, _ Identity, _ int64) error {
				if position.Seq < before.Seq {
					return fmt.Errorf("the copy is of %d, the call was at %d", position.Seq, before.Seq)
				}
				return nil
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	index := uint64(2)
	for n := uint64(1); n <= end; index++ {
		var records [][]byte
		for range 1 + rand.IntN(20) {
			if n <= end {
				records = append(records, storyRecord(t, n))
				n++
			}
		}
		for _, outcome := range apply(t, m, group(index, records...))[0] {
			if outcome.Err != nil {
				t.Fatal(outcome.Err)
			}
		}
	}
	readers.Wait()
	shut(t, m)
	m = openAt(t, path, Options{})
	defer shut(t, m)
	if m.Position().Seq != end {
		t.Fatalf("Close has not flushed: the file is at %d", m.Position().Seq)
	}
	verify(t, m)
}

// TestSlowDisk holds the file for a while: what is in memory stays bounded, reads go on, and nothing is
// lost.
func TestSlowDisk(t *testing.T) {
	const bound = 100 << 10
	m := open(t, Options{AfterFunc: time.AfterFunc, FlushEvery: time.Millisecond, PendingBytes: bound})
	apply(t, m, identityEntry(t))
	flush(t, m)
	slow, err := m.file.Begin(true) // whoever writes waits for it
	if err != nil {
		t.Fatal(err)
	}
	const end = 1000
	applied := make(chan error, 1)
	go func() {
		for n := uint64(1); n <= end; n++ {
			if _, err := m.Apply([]Entry{group(1+n, storyRecord(t, n))}); err != nil {
				applied <- err
				return
			}
		}
		applied <- nil
	}()
	waitFor(t, "Apply waits", func() bool { return pendingBytes(m) >= bound })
	if size := pendingBytes(m); size > bound+10<<10 {
		t.Errorf("%d bytes are in memory, %d may be", size, bound)
	}
	objects, err := m.List(core.KindService, "", 0)
	if err != nil {
		t.Fatal(err)
	}
	stopped, err := checkStory(objects)
	if err != nil || stopped == 0 || stopped >= end {
		t.Fatalf("with a slow disk reads are at %d, %v", stopped, err)
	}
	if now, _ := m.Durable(); now.Seq != 0 {
		t.Fatalf("the file is at %d", now.Seq)
	}
	if err := slow.Rollback(); err != nil {
		t.Fatal(err)
	}
	if err := <-applied; err != nil {
		t.Fatal(err)
	}
	if m.Position().Seq != end {
		t.Fatalf("at %d", m.Position().Seq)
	}
	verify(t, m)
	if now, before := m.Durable(); now.Seq != end || before.Seq >= end {
		t.Fatalf("the file is at %d, was at %d", now.Seq, before.Seq)
	}
}

func pendingBytes(m *Machine) int {
	m.mu.RLock()
	defer m.mu.RUnlock()
	size := 0
	for _, p := range []*pending{m.growing, m.flushing} {
		if p != nil {
			p.mu.RLock()
			size += p.bytes
			p.mu.RUnlock()
		}
	}
	return size
}

func waitFor(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !ok(); {
		if time.Now().After(deadline) {
			t.Fatalf("after 30 s: %s is not so", what)
		}
		<-time.After(time.Millisecond)
	}
}

// TestHangingDisk never gives the file back: the machine says so and stops, reads go on.
func TestHangingDisk(t *testing.T) {
	failed := make(chan error, 2)
	m := openAt(t, filepath.Join(t.TempDir(), "state.db"), Options{
		AfterFunc: time.AfterFunc, FlushEvery: time.Millisecond, Stall: 20 * time.Millisecond, Failed: func(err error) { failed <- err },
	})
	hung, err := m.file.Begin(true)
	if err != nil {
		t.Fatal(err)
	}
	apply(t, m, identityEntry(t), group(2, storyRecord(t, 1)))
	if err := <-failed; !strings.Contains(err.Error(), "has not answered") || !strings.Contains(err.Error(), m.path) {
		t.Errorf("it failed with %v", err)
	}
	if _, err := m.Apply([]Entry{group(3, storyRecord(t, 2))}); err == nil {
		t.Error("a record was applied after the failure")
	}
	if object, err := m.Get(core.KindService, "last", 0); err != nil || object.Seq != 1 {
		t.Errorf("after the failure: %+v, %v", object, err)
	}
	if err := m.Close(); err == nil {
		t.Error("a file that hangs was closed")
	}
	if err := hung.Rollback(); err != nil {
		t.Fatal(err)
	}
	if err := m.Flush(); err == nil {
		t.Error("the machine flushed after the failure")
	}
	<-m.flusherEnded
	if err := m.file.close(); err != nil {
		t.Error(err)
	}
	if len(failed) > 0 {
		t.Errorf("it failed again: %v", <-failed)
	}
}
