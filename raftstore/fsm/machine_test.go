package fsm

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"
	"pgregory.net/rapid"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/audit"
)

func openAt(t testing.TB, path string, options Options) *Machine {
	t.Helper()
	m, err := Open(path, options)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func open(t testing.TB, options Options) *Machine {
	t.Helper()
	m := openAt(t, filepath.Join(t.TempDir(), "state.db"), options)
	t.Cleanup(func() { shut(t, m) })
	return m
}

func shut(t testing.TB, m *Machine) {
	t.Helper()
	if err := m.Close(); err != nil {
		t.Error(err)
	}
}

func encode(t testing.TB, at int64, requestID string, ops ...core.Op) []byte {
	t.Helper()
	raw, err := audit.Encode(core.Txn{
		Meta: core.Meta{Principal: "p", Verb: "v", Time: time.Unix(0, at), RequestID: requestID}, Ops: ops,
	})
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func put(id string, ifSeq uint64) core.Op {
	return core.Op{Kind: core.KindService, ID: id, Value: []byte("value of " + id), IfSeq: ifSeq}
}

func del(id string, ifSeq uint64) core.Op {
	return core.Op{Kind: core.KindService, ID: id, Delete: true, IfSeq: ifSeq}
}

func identityEntry(t testing.TB) Entry {
	t.Helper()
	data, err := EncodeIdentity(Identity{Cluster: "test", ID: "0123", Generation: 1})
	if err != nil {
		t.Fatal(err)
	}
	return Entry{Index: 1, Term: 1, Data: data}
}

func group(index uint64, records ...[]byte) Entry {
	return Entry{Index: index, Term: 1, Data: EncodeGroup(records)}
}

func apply(t testing.TB, m *Machine, entries ...Entry) [][]Outcome {
	t.Helper()
	outcomes, err := m.Apply(entries)
	if err != nil {
		t.Fatal(err)
	}
	return outcomes
}

func flush(t testing.TB, m *Machine) {
	t.Helper()
	if err := m.Flush(); err != nil {
		t.Fatal(err)
	}
}

func verify(t testing.TB, m *Machine) {
	t.Helper()
	if err := m.Verify(context.Background()); err != nil {
		t.Fatal(err)
	}
}

func TestApply(t *testing.T) {
	m := open(t, Options{})
	outcomes := apply(t, m,
		identityEntry(t),
		Entry{Index: 2, Term: 1, Type: Configuration, Data: []byte("members")},
		group(4, encode(t, 5, "r1", put("a", 0)), encode(t, 5, "", put("a", 0)), encode(t, 6, "r1", put("a", 0)), encode(t, 4, "", put("b", 0))),
	)
	if len(outcomes) != 3 || len(outcomes[2]) != 4 {
		t.Fatalf("outcomes %+v", outcomes)
	}
	got := outcomes[2]
	if got[0].Err != nil || got[0].Receipt.Seq != 1 || got[0].Receipt.Origin != "test/0123/1" {
		t.Errorf("first write: %+v", got[0])
	}
	if !core.IsConflict(got[1].Err) {
		t.Errorf("second write: %+v", got[1])
	}
	if !got[2].Receipt.Replayed || got[2].Receipt.Seq != 1 || got[2].Receipt.LeafHash != got[0].Receipt.LeafHash {
		t.Errorf("replay: %+v", got[2])
	}
	if core.CodeOf(got[3].Err) != core.CodeInternal {
		t.Errorf("write from the past: %+v", got[3])
	}
	flush(t, m)
	configuration, position, err := m.Configuration()
	if err != nil || string(configuration) != "members" || position.ConfigIndex != 2 || position.RaftIndex != 4 || position.Seq != 1 {
		t.Errorf("configuration %q at %+v, %v", configuration, position, err)
	}
	verify(t, m)
}

// TestAppliedEntriesAreSkipped is what happens at every start: Raft hands in its log again.
func TestAppliedEntriesAreSkipped(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	entries := []Entry{identityEntry(t), group(2, encode(t, 1, "", put("a", core.AnySeq))), group(3, encode(t, 2, "", put("a", core.AnySeq)))}
	m := openAt(t, path, Options{})
	apply(t, m, entries[:2]...)
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	m = openAt(t, path, Options{})
	defer shut(t, m)
	outcomes := apply(t, m, entries...)
	if outcomes[1] != nil || len(outcomes[2]) != 1 || m.Position().Seq != 2 {
		t.Fatalf("outcomes %+v, at %+v", outcomes, m.Position())
	}
	apply(t, m, entries...)
	if m.Position().Seq != 2 {
		t.Fatal("an entry was applied twice")
	}
	verify(t, m)
}

func TestUnknownCommandStops(t *testing.T) {
	for _, data := range [][]byte{{99}, {}, {commandGroup, 200}, EncodeGroup([][]byte{[]byte("no record")})} {
		m := open(t, Options{})
		apply(t, m, identityEntry(t))
		_, err := m.Apply([]Entry{group(2, encode(t, 1, "", put("a", 0))), {Index: 3, Term: 1, Data: data}})
		if err == nil {
			t.Fatalf("command %q was applied", data)
		}
		if m.Position().RaftIndex != 1 || m.Position().Seq != 0 {
			t.Fatalf("half of a batch was applied: %+v", m.Position())
		}
		if _, again := m.Apply([]Entry{group(2, encode(t, 1, "", put("a", 0)))}); again == nil {
			t.Fatal("the machine went on after a failure")
		}
		if err := m.Advance(7, 1, nil, 0); err == nil {
			t.Fatal("the position moved after a failure")
		}
	}
}

func TestWindow(t *testing.T) {
	m := open(t, Options{Window: 3})
	apply(t, m, identityEntry(t))
	write := func(index uint64, id string) core.Receipt {
		out := apply(t, m, group(index, encode(t, 1, id, put("a", core.AnySeq))))
		return out[0][0].Receipt
	}
	write(2, "r1") // record 1
	write(3, "r2")
	write(4, "r3")
	if !write(5, "r1").Replayed {
		t.Fatal("r1 was forgotten within the window")
	}
	write(6, "r4") // record 4: r1 falls out
	if receipt := write(7, "r1"); receipt.Replayed || receipt.Seq != 5 {
		t.Fatalf("r1 was not forgotten: %+v", receipt)
	}
	if !write(8, "r4").Replayed || !write(9, "r3").Replayed {
		t.Fatal("r4 or r3 was forgotten within the window")
	}
	verify(t, m)
}

func TestAdvance(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	m := openAt(t, path, Options{})
	apply(t, m, identityEntry(t))
	if err := m.Advance(10, 2, []byte("members"), 1); err != nil {
		t.Fatal(err)
	}
	if err := m.Advance(5, 1, nil, 0); err != nil {
		t.Fatal(err)
	}
	shut(t, m)
	m = openAt(t, path, Options{})
	defer shut(t, m)
	if p := m.Position(); p.RaftIndex != 10 || p.RaftTerm != 2 {
		t.Fatalf("at %+v", p)
	}
	if err := m.Advance(11, 2, []byte("others"), 1); err != nil {
		t.Fatal(err)
	}
}

func TestOpenTwice(t *testing.T) {
	m := open(t, Options{})
	apply(t, m, identityEntry(t), group(2, encode(t, 1, "", put("a", 0))))
	if _, err := os.Stat(m.path + ".new"); !os.IsNotExist(err) {
		t.Fatalf("creation left its temporary file: %v", err)
	}
	if _, err := m.Get(core.KindService, "a", 0); err != nil {
		t.Fatal(err)
	}
	shut(t, m)
	if _, err := m.Get(core.KindService, "a", 0); core.CodeOf(err) != core.CodeUnavailable {
		t.Fatalf("read of a closed machine: %v", err)
	}
	if _, err := m.Apply([]Entry{group(3, encode(t, 1, "", put("b", 0)))}); core.CodeOf(err) != core.CodeUnavailable {
		t.Fatalf("write to a closed machine: %v", err)
	}
}

// content dumps everything a machine has.
func content(t testing.TB, m *Machine) string {
	t.Helper()
	var out strings.Builder
	flush(t, m)
	if err := m.file.View(func(tx *bolt.Tx) error {
		for _, name := range buckets {
			c := tx.Bucket(name).Cursor()
			for key, value := c.First(); key != nil; key, value = c.Next() {
				fmt.Fprintf(&out, "%s %x %x\n", name, key, value)
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func drawLog(r *rapid.T, t testing.TB) []Entry {
	entries := []Entry{identityEntry(t)}
	at, seq := int64(0), uint64(0)
	for index := uint64(2); index < 2+uint64(rapid.IntRange(1, 12).Draw(r, "entries")); index++ {
		var records [][]byte
		for range rapid.IntRange(0, 4).Draw(r, "records") {
			at += int64(rapid.IntRange(0, 1).Draw(r, "tick"))
			var ops []core.Op
			for _, id := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"a", "b", "ab", "a/1"}), 1, 3, rapid.ID).Draw(r, "ids") {
				ifSeq := rapid.SampledFrom([]uint64{core.AnySeq, core.AnySeq, 0, seq, seq / 2}).Draw(r, "if seq")
				if rapid.Bool().Draw(r, "delete") {
					ops = append(ops, del(id, max(ifSeq, 1)))
				} else {
					ops = append(ops, put(id, ifSeq))
				}
			}
			records = append(records, encode(t, at, rapid.SampledFrom([]string{"", "", "r1", "r2", "r3"}).Draw(r, "request"), ops...))
			seq++
		}
		entries = append(entries, group(index, records...))
	}
	return entries
}

// TestAnyBatchingGivesTheSameState applies one log entry by entry, at once, in random batches and with
// restarts in between.
func TestAnyBatchingGivesTheSameState(t *testing.T) {
	run := 0
	rapid.Check(t, func(r *rapid.T) {
		entries := drawLog(r, t)
		run++
		dir := filepath.Join(t.TempDir(), fmt.Sprint(run))
		if err := os.Mkdir(dir, 0o700); err != nil {
			r.Fatal(err)
		}
		one := openAt(t, filepath.Join(dir, "one"), Options{Window: 5})
		defer shut(t, one)
		apply(t, one, entries...)
		verify(t, one)

		other := openAt(t, filepath.Join(dir, "other"), Options{Window: 5})
		for rest := entries; len(rest) > 0; {
			n := rapid.IntRange(1, len(rest)).Draw(r, "batch")
			apply(t, other, rest[:n]...)
			rest = rest[n:]
			if rapid.IntRange(0, 3).Draw(r, "restart") == 0 {
				shut(t, other)
				other = openAt(t, filepath.Join(dir, "other"), Options{})
			}
		}
		defer shut(t, other)
		if a, b := content(t, one), content(t, other); a != b {
			r.Fatalf("at once:\n%s\nin batches:\n%s", a, b)
		}
	})
}

// TestReplayingTheRecordsRebuildsTheState feeds nothing but the records to a new machine.
func TestReplayingTheRecordsRebuildsTheState(t *testing.T) {
	run := 0
	rapid.Check(t, func(r *rapid.T) {
		run++
		dir := filepath.Join(t.TempDir(), fmt.Sprint(run))
		if err := os.Mkdir(dir, 0o700); err != nil {
			r.Fatal(err)
		}
		one := openAt(t, filepath.Join(dir, "one"), Options{Window: 100})
		defer shut(t, one)
		apply(t, one, drawLog(r, t)...)
		records, _, err := one.Records(0, 1000, 1<<30)
		if err != nil {
			r.Fatal(err)
		}
		var raws [][]byte
		for _, record := range records {
			raws = append(raws, record.Raw)
		}
		other := openAt(t, filepath.Join(dir, "other"), Options{Window: 100})
		defer shut(t, other)
		apply(t, other, identityEntry(t), Entry{Index: one.Position().RaftIndex, Term: 1, Data: EncodeGroup(raws)})
		if a, b := content(t, one), content(t, other); a != b {
			r.Fatalf("original:\n%s\nreplayed:\n%s", a, b)
		}
	})
}
