package raftstore

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/instarhq/instar/core"
)

// TestRecover loses two of three voters for good, makes the third a cluster, and adds a fresh node to it.
func TestRecover(t *testing.T) {
	c := newNodes(t, 3, nil)
	var writes []acked
	for i := range 20 {
		id := fmt.Sprint(i)
		writes = append(writes, acked{c.write(c.leader(), id), id})
	}
	survivor := c.leader()
	name, before := survivor.Node(), survivor.Origin()
	// Something that it has in its log and nobody has acknowledged.
	c.isolate(name)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := survivor.Propose(ctx, writeTxn("uncertain", "x")); err == nil {
		t.Fatal("a write without a quorum was acknowledged")
	}
	for _, n := range c.names {
		c.stop(n)
	}

	also := func(ctx context.Context, r core.Reader) ([]core.Op, error) {
		if _, err := r.Get(ctx, core.KindService, "19", 0); err != nil {
			return nil, err
		}
		return []core.Op{{Kind: core.KindConfig, ID: "also", Value: []byte(`1`), IfSeq: core.AnySeq}}, nil
	}
	config := RecoverConfig{Dir: c.dirs[name], Node: name, Meta: core.Meta{Principal: "local:root", Reason: "the rest burnt"}, Also: also}
	result, err := Recover(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	after := strings.TrimSuffix(before, "1") + "2"
	if result.Previous.Origin != before || result.Previous.Size < 20 || result.Receipt.Origin != after || len(result.Former) != 2 || result.Uncertain == 0 {
		t.Fatalf("%+v", result)
	}

	c.network.heal()
	s := c.start(name, false)
	if !s.IsLeader() || s.Origin() != after {
		t.Fatalf("leads: %v, origin %q", s.IsLeader(), s.Origin())
	}
	for _, a := range writes {
		record, err := s.Record(t.Context(), a.receipt.Seq)
		if err != nil || record.LeafHash != a.receipt.LeafHash {
			t.Fatalf("acknowledged write %s: %v", a.id, err)
		}
	}
	checkRecovered(t, s.Store, result)
	written := c.write(s, "uncertain") // whatever became of it: it is there once
	if written.Replayed != (result.Previous.Size == 21) {
		t.Errorf("%+v after %+v", written, result.Previous)
	}

	fresh := (map[string]string{"n1": "n2", "n2": "n3", "n3": "n1"})[name]
	c.dirs[fresh] = ""
	n := c.start(fresh, true)
	if err := s.AddNonvoter(t.Context(), fresh, c.network.raft[fresh]); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the fresh node has caught up", func() bool { return n.Seq() >= s.Seq() })
	if err := s.Promote(t.Context(), fresh); err != nil {
		t.Fatal(err)
	}
	c.write(n, "two voters")
	c.agree()
}

func checkRecovered(t *testing.T, s *Store, result Recovered) {
	t.Helper()
	object, err := s.Get(t.Context(), core.KindLineage, s.Origin(), 0)
	if err != nil {
		t.Fatal(err)
	}
	var lineage core.Lineage
	if err := json.Unmarshal(object.Value, &lineage); err != nil || lineage.Recovered != s.Node() || lineage.Previous != result.Previous {
		t.Errorf("lineage %+v, %v", lineage, err)
	}
	record, err := s.Record(t.Context(), result.Receipt.Seq)
	if err != nil || record.Txn.Meta.Verb != "cluster.recover" || record.Txn.Meta.Reason != "the rest burnt" || len(record.Txn.Ops) != 2 {
		t.Errorf("%+v, %v", record, err)
	}
	if err := s.Verify(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestRecoverIsInterrupted opens a directory whose recovery ended just before the old log was dropped.
func TestRecoverIsInterrupted(t *testing.T) {
	c := newNodes(t, 3, nil)
	c.write(c.leader(), "first")
	name := c.leader().Node()
	for _, n := range c.names {
		c.stop(n)
	}
	saved := t.TempDir()
	if err := os.CopyFS(saved, os.DirFS(filepath.Join(c.dirs[name], raftDir))); err != nil {
		t.Fatal(err)
	}
	config := RecoverConfig{Dir: c.dirs[name], Node: name, Meta: core.Meta{Principal: "local:root"}}
	if _, err := Recover(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	// Everything of the old log is back, but for the term, which is written before.
	files, err := filepath.Glob(filepath.Join(saved, "*.wal"))
	if err != nil {
		t.Fatal(err)
	}
	meta, err := openLogMeta(filepath.Join(saved, metaFile), false)
	if err != nil {
		t.Fatal(err)
	}
	term, err := meta.GetStable([]byte(currentTerm))
	if err != nil {
		t.Fatal(err)
	}
	term[0]++
	if err := meta.SetStable([]byte(currentTerm), term); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(c.dirs[name], raftDir)); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(filepath.Join(c.dirs[name], raftDir), os.DirFS(saved)); err != nil || len(files) == 0 {
		t.Fatal(err)
	}
	s := c.start(name, false)
	if s.Generation() != 2 || !s.IsLeader() {
		t.Fatalf("generation %d, leads %v", s.Generation(), s.IsLeader())
	}
	c.write(s, "goes on")
}

func TestRecoverRefuses(t *testing.T) {
	dir := t.TempDir()
	meta := core.Meta{Principal: "local:root"}
	if _, err := Recover(t.Context(), RecoverConfig{Dir: dir, Node: "n1", Meta: meta}); !core.IsNotFound(err) {
		t.Errorf("an empty directory: %v", err)
	}
	s := openStore(t, Config{Dir: dir})
	write(t, s, "first", "x")
	if _, err := Recover(t.Context(), RecoverConfig{Dir: dir, Node: "n1", Meta: meta}); core.CodeOf(err) != core.CodeUnavailable {
		t.Errorf("a running store: %v", err)
	}
}
