package raftstore

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	wal "github.com/hashicorp/raft-wal"

	"github.com/instarhq/instar/core"
)

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, Config{Dir: dir, Cluster: "prod"})
	open := func(config Config) error {
		other, err := Open(t.Context(), config)
		if err == nil {
			t.Error(other.Close())
		}
		return err
	}
	if err := open(Config{Dir: dir, Node: "n1"}); core.CodeOf(err) != core.CodeUnavailable || !strings.Contains(err.Error(), "in use") {
		t.Errorf("a directory in use: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for name, config := range map[string]Config{
		"another node":     {Dir: dir, Node: "n2"},
		"another cluster":  {Dir: dir, Node: "n1", Cluster: "test"},
		"no directory":     {Node: "n1"},
		"no node":          {Dir: dir},
		"bad cluster name": {Dir: dir, Node: "n1", Cluster: "a/b"},
	} {
		if err := open(config); core.CodeOf(err) != core.CodeInvalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := open(Config{Dir: "/dev/null/x", Node: "n1"}); err == nil {
		t.Error("a directory that cannot be made was opened")
	}
	if s := openStore(t, Config{Dir: dir}); s.ClusterName() != "prod" || s.Node() != "n1" {
		t.Errorf("node %q of cluster %q", s.Node(), s.ClusterName())
	}
}

// TestNewerFormats opens directories of a later version: each must be refused as such, untouched.
func TestNewerFormats(t *testing.T) {
	for _, file := range []string{nodeFile, filepath.Join(raftDir, metaFile)} {
		t.Run(file, func(t *testing.T) {
			dir := t.TempDir()
			if err := openStore(t, Config{Dir: dir}).Close(); err != nil {
				t.Fatal(err)
			}
			data, err := os.ReadFile(filepath.Join(dir, file))
			if err != nil {
				t.Fatal(err)
			}
			data = []byte(strings.Replace(string(data), `"format":1`, `"format":2`, 1))
			if err := os.WriteFile(filepath.Join(dir, file), data, 0o600); err != nil {
				t.Fatal(err)
			}
			_, err = Open(t.Context(), Config{Dir: dir, Node: "n1"})
			if core.CodeOf(err) != core.CodeUnsupported || !strings.Contains(err.Error(), "format 2") {
				t.Fatalf("got %v", err)
			}
		})
	}
}

// TestCrashWhileBeginning ends the process after each step of making a new directory.
func TestCrashWhileBeginning(t *testing.T) {
	for name, steps := range map[string]func(*testing.T, *dir){
		"lock and node.json": func(*testing.T, *dir) {},
		"term": func(t *testing.T, d *dir) {
			meta, err := openLogMeta(d.file(raftDir+"/"+metaFile), true)
			if err != nil {
				t.Fatal(err)
			}
			log, err := wal.Open(d.file(raftDir), wal.WithMetaStore(meta))
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(log.SetUint64([]byte(currentTerm), 1), log.Close()); err != nil {
				t.Fatal(err)
			}
		},
		"half-made files": func(t *testing.T, d *dir) {
			for _, name := range []string{stateFile + ".new", nodeFile + ".new", raftDir + "/" + metaFile + ".new"} {
				if err := os.WriteFile(d.file(name), []byte("half"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := t.TempDir()
			d, err := openDir(path, "n1")
			if err != nil {
				t.Fatal(err)
			}
			steps(t, d)
			if err := d.close(); err != nil {
				t.Fatal(err)
			}
			write(t, openStore(t, Config{Dir: path}), "a", "x")
		})
	}
}

// TestStateFileIsRebuilt removes the state while Raft's log is still complete.
func TestStateFileIsRebuilt(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, Config{Dir: dir})
	write(t, s, "a", "x")
	head, err := s.Head(t.Context())
	if err := errors.Join(err, s.Close(), os.Remove(filepath.Join(dir, stateFile))); err != nil {
		t.Fatal(err)
	}
	s = openStore(t, Config{Dir: dir})
	if again, err := s.Head(t.Context()); err != nil || again != head {
		t.Fatalf("rebuilt as %+v, %v; it was %+v", again, err, head)
	}
}

func TestJoinWaits(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	s, err := Open(ctx, Config{Dir: t.TempDir(), Node: "n4", Join: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	if _, err := s.Propose(ctx, writeTxn("a", "x")); core.CodeOf(err) != core.CodeNotLeader {
		t.Fatalf("got %v", err)
	}
	if s.Origin() != "" || s.IsLeader() || s.Leader() != "" {
		t.Fatalf("a node without a cluster has origin %q, leader %q", s.Origin(), s.Leader())
	}
}

// TestNoHeartbeatHandler keeps the mitigation of hashicorp/raft#695 in place.
func TestNoHeartbeatHandler(t *testing.T) {
	_, transport := raft.NewInmemTransport("x")
	wrapped := quiet(&handlerCounter{InmemTransport: transport})
	wrapped.SetHeartbeatHandler(func(raft.RPC) {})
	if wrapped.(quietPreVoteTransport).Transport.(*handlerCounter).set {
		t.Fatal("raft may handle heartbeats outside of its main loop")
	}
	if _, ok := wrapped.(raft.WithPreVote); !ok {
		t.Fatal("the wrapped transport has lost pre-vote")
	}
	if _, ok := quiet(struct{ raft.Transport }{transport}).(raft.WithPreVote); ok {
		t.Fatal("a transport without pre-vote seems to have it")
	}
}

type handlerCounter struct {
	*raft.InmemTransport
	set bool
}

func (h *handlerCounter) SetHeartbeatHandler(func(raft.RPC)) { h.set = true }
