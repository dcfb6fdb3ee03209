package raftstore

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/audit"
)

var operator = core.Meta{Principal: "local:root", Verb: "store.restore", Reason: "drill"}

func write(t testing.TB, s *Store, id, value string) core.Receipt {
	t.Helper()
	receipt, err := s.Propose(context.Background(), writeTxn(id, value))
	if err != nil {
		t.Fatal(err)
	}
	return receipt
}

func takeSnapshot(t testing.TB, s *Store) ([]byte, SnapshotInfo) {
	t.Helper()
	var out bytes.Buffer
	info, err := s.Snapshot(context.Background(), &out)
	if err != nil {
		t.Fatal(err)
	}
	return out.Bytes(), info
}

func TestSnapshotAndRestore(t *testing.T) {
	s := openStore(t, Config{Dir: t.TempDir(), Cluster: "prod"})
	for i := range 20 {
		write(t, s, fmt.Sprint("before-", i), "x")
	}
	snapshot, info := takeSnapshot(t, s)
	if info.Head.Size != 20 || info.Head.Origin != s.Origin() || info.Bytes == 0 {
		t.Fatalf("%+v", info)
	}
	for i := range 5 {
		write(t, s, fmt.Sprint("after-", i), "x")
	}
	feed := make(chan error, 1)
	changes := s.Changes(context.Background(), 25)
	go func() {
		for _, err := range changes {
			feed <- err
			return
		}
	}()
	receipt, err := s.Restore(t.Context(), bytes.NewReader(snapshot), operator)
	if err != nil {
		t.Fatal(err)
	}
	if err := <-feed; core.CodeOf(err) != core.CodeUnavailable || !errors.Is(err, core.ErrReplaced) {
		t.Errorf("a feed went on over the restore: %v", err)
	}
	checkRestored(t, s, info, receipt, 2)
	if record, err := s.Record(t.Context(), 21); err != nil || record.Txn.Meta.Principal != "local:root" || record.Txn.Meta.Reason != "drill" {
		t.Errorf("record of the restore: %+v, %v", record, err)
	}
	if again := write(t, s, "before-3", "y"); !again.Replayed || again.Seq != 4 {
		t.Errorf("request ids did not survive: %+v", again)
	}
	write(t, s, "new", "x")

	// It is all there after a restart, and can be restored once more.
	dir := s.config.Dir
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openStore(t, Config{Dir: dir, Cluster: "prod"})
	checkRestored(t, s, info, receipt, 2)
	if s.Seq() != 22 {
		t.Fatalf("after the restart at %d", s.Seq())
	}
	receipt, err = s.Restore(t.Context(), bytes.NewReader(snapshot), operator)
	if err != nil {
		t.Fatal(err)
	}
	checkRestored(t, s, info, receipt, 3)
}

func checkRestored(t *testing.T, s *Store, info SnapshotInfo, receipt core.Receipt, generation uint64) {
	t.Helper()
	if err := s.Verify(t.Context()); err != nil {
		t.Fatal(err)
	}
	origin := fmt.Sprintf("prod/%s/%d", s.ClusterID(), generation)
	if s.Origin() != origin || receipt.Origin != origin || receipt.Seq != info.Head.Size+1 || s.Generation() != generation || s.ClusterName() != "prod" {
		t.Fatalf("origin %q, receipt %+v; want %q", s.Origin(), receipt, origin)
	}
	object, err := s.Get(t.Context(), core.KindLineage, origin, 0)
	if err != nil {
		t.Fatal(err)
	}
	var lineage core.Lineage
	if err := json.Unmarshal(object.Value, &lineage); err != nil {
		t.Fatal(err)
	}
	if lineage.Previous != info.Head || lineage.Snapshot != info.Digest || lineage.Origin != origin {
		t.Fatalf("lineage %+v, want %+v with digest %s", lineage, info.Head, info.Digest)
	}
	if _, err := s.Get(t.Context(), core.KindService, "before-19", 0); err != nil {
		t.Error(err)
	}
	if _, err := s.Get(t.Context(), core.KindService, "after-0", 0); !core.IsNotFound(err) {
		t.Errorf("a write after the snapshot is still there: %v", err)
	}
	head, err := s.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	path, err := s.ConsistencyProof(t.Context(), info.Head.Size, head.Size)
	if err != nil {
		t.Fatal(err)
	}
	if err := audit.VerifyConsistency(info.Head, head, path); err != nil {
		t.Error(err)
	}
}

func TestRestoreIntoNewStore(t *testing.T) {
	old := openStore(t, Config{Dir: t.TempDir(), Cluster: "prod"})
	write(t, old, "a", "x")
	snapshot, info := takeSnapshot(t, old)

	s := openStore(t, Config{Dir: t.TempDir(), Cluster: "other"})
	receipt, err := s.Restore(t.Context(), bytes.NewReader(snapshot), operator)
	if err != nil {
		t.Fatal(err)
	}
	if s.ClusterID() != old.ClusterID() || s.ClusterName() != "prod" || s.Generation() != 2 || receipt.Seq != info.Head.Size+1 {
		t.Fatalf("origin %q of %q", s.Origin(), old.Origin())
	}
	busy := openStore(t, Config{Dir: t.TempDir()})
	write(t, busy, "a", "x")
	if _, err := busy.Restore(t.Context(), bytes.NewReader(snapshot), operator); core.CodeOf(err) != core.CodeConflict {
		t.Fatalf("another cluster's snapshot over a store in use: %v", err)
	}
	if busy.Seq() != 1 || busy.Generation() != 1 {
		t.Fatal("a refused restore changed the store")
	}
}

func TestRestoreRefusesDamage(t *testing.T) {
	s := openStore(t, Config{Dir: t.TempDir()})
	for i := range 10 {
		write(t, s, fmt.Sprint(i), strings.Repeat("x", 1000))
	}
	snapshot, _ := takeSnapshot(t, s)
	flip := func(at int) []byte {
		bad := bytes.Clone(snapshot)
		bad[at] ^= 1
		return bad
	}
	for name, bad := range map[string][]byte{
		"nothing":       nil,
		"text":          []byte("hello"),
		"magic":         flip(0),
		"header":        flip(20),
		"content":       flip(len(snapshot) / 2),
		"digest":        flip(len(snapshot) - 5),
		"cut":           snapshot[:len(snapshot)-100],
		"cut early":     snapshot[:300],
		"cut in header": snapshot[:30],
		"too long":      append(bytes.Clone(snapshot), 'x'),
	} {
		if _, err := s.Restore(t.Context(), bytes.NewReader(bad), operator); core.CodeOf(err) != core.CodeCorrupt {
			t.Errorf("%s: got %v (code %q), want code corrupt", name, err, core.CodeOf(err))
		}
	}
	if _, err := s.Restore(t.Context(), bytes.NewReader(snapshot), core.Meta{Verb: "store.restore"}); core.CodeOf(err) != core.CodeInvalid {
		t.Errorf("a restore by nobody: %v", err)
	}
	if s.Seq() != 10 || s.Generation() != 1 {
		t.Fatalf("a refused restore changed the store: %d, %q", s.Seq(), s.Origin())
	}
	write(t, s, "still", "works")
}

func TestSnapshotEndsWithContext(t *testing.T) {
	s := openStore(t, Config{Dir: t.TempDir()})
	write(t, s, "a", "x")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Snapshot(ctx, &bytes.Buffer{}); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
}

// TestCrashBetweenInstallAndLog opens a directory whose state was replaced by a restore while Raft's log
// is still the old one: raft-wal would refuse every later entry.
func TestCrashBetweenInstallAndLog(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, Config{Dir: dir})
	for i := range 10 {
		write(t, s, fmt.Sprint(i), "x")
	}
	snapshot, _ := takeSnapshot(t, s)
	incoming, _, err := s.receive(t.Context(), bytes.NewReader(snapshot))
	if err != nil {
		t.Fatal(err)
	}
	configuration, position, err := s.machine.Configuration()
	if err != nil {
		t.Fatal(err)
	}
	if err := incoming.Place(position.RaftIndex+100, position.RaftTerm, configuration, position.ConfigIndex); err != nil {
		t.Fatal(err)
	}
	if err := s.machine.Install(incoming); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openStore(t, Config{Dir: dir})
	write(t, s, "after", "x")
	if err := s.Verify(t.Context()); err != nil || s.Seq() != 11 {
		t.Fatalf("at %d, %v", s.Seq(), err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s = openStore(t, Config{Dir: dir}); s.Seq() != 11 {
		t.Fatalf("at %d", s.Seq())
	}
}
