package raftstore

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/audit"
	"github.com/instarhq/instar/raftstore/fsm"
)

// childEnv makes the test binary a process that writes to a store until it is killed.
const childEnv = "INSTAR_RAFTSTORE_TEST_CHILD"

func TestMain(m *testing.M) {
	switch mode, dir, _ := strings.Cut(os.Getenv(childEnv), ":"); mode {
	case "":
		os.Exit(m.Run())
	case "write":
		fmt.Fprintln(os.Stderr, writeUntilKilled(dir))
	case "full":
		fmt.Fprintln(os.Stderr, writeUntilFull(dir))
	case "member":
		if err := runMember(dir); err != nil {
			fmt.Fprintln(os.Stderr, "member:", err)
			os.Exit(3)
		}
		os.Exit(0)
	}
	os.Exit(3)
}

// smallLogs makes Raft cut its log all the time, so that kills hit that as well.
func smallLogs(rc *raft.Config) {
	rc.SnapshotInterval, rc.SnapshotThreshold, rc.TrailingLogs = 5*time.Millisecond, 20, 10
}

const killWriters = 4

// writeUntilKilled prints a line for every acknowledged write: the receipt, and what was written. The state
// is flushed all the time, as usual, or never; and the log is cut all the time or never.
func writeUntilKilled(dir string) error {
	config := Config{Dir: dir, Node: "n1", segmentBytes: 8 << 10}
	config.FSM.FlushEvery = []time.Duration{time.Microsecond, 100 * time.Millisecond, time.Hour}[rand.IntN(3)]
	if rand.IntN(2) == 0 {
		config.tune = smallLogs
	}
	s, err := Open(context.Background(), config)
	if err != nil {
		return err
	}
	var out sync.Mutex
	var group sync.WaitGroup
	begin := s.Seq()
	for w := range killWriters {
		group.Go(func() {
			for i := 0; ; i++ {
				id := fmt.Sprintf("%d-%d-%d", begin, w, i)
				receipt, err := s.Propose(context.Background(), writeTxn(id, strings.Repeat("x", 1+i*37%3000)))
				out.Lock()
				if err != nil {
					fmt.Println("error", err)
				} else {
					fmt.Println("ack", receipt.Seq, receipt.LeafHash, receipt.Origin, id)
				}
				out.Unlock()
			}
		})
	}
	fmt.Println("ready")
	group.Wait()
	return nil
}

func writeTxn(id, value string) core.Txn {
	return core.Txn{
		Meta: core.Meta{Principal: "test", Verb: "test.write", RequestID: "request-" + id},
		Ops:  []core.Op{{Kind: core.KindService, ID: id, Value: []byte(`"` + value + `"`)}, {Kind: core.KindRoute, ID: "last", Value: []byte(id), IfSeq: core.AnySeq}},
	}
}

// acked is an acknowledged write.
type acked struct {
	receipt core.Receipt
	id      string
}

// runAndKill runs a writer for a while, kills it and returns what it has acknowledged.
func runAndKill(t *testing.T, dir string, after time.Duration) []acked {
	t.Helper()
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), childEnv+"=write:"+dir)
	child.Stderr = os.Stderr
	stdout, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	// Kills the writer if the test ends early; it has ended when Wait was called.
	t.Cleanup(func() { _ = child.Process.Kill() })
	var lines []acked
	in := bufio.NewScanner(stdout)
	for in.Scan() {
		var a acked
		var leaf string
		switch line := in.Text(); {
		case line == "ready":
			time.AfterFunc(after, func() { _ = child.Process.Kill() })
		case strings.HasPrefix(line, "error"):
			t.Errorf("the writer got %s", line)
		default:
			if _, err := fmt.Sscan(line, new(string), &a.receipt.Seq, &leaf, &a.receipt.Origin, &a.id); err != nil {
				continue // cut off by the kill: not acknowledged to anybody
			}
			if err := a.receipt.LeafHash.UnmarshalText([]byte(leaf)); err != nil {
				continue
			}
			lines = append(lines, a)
		}
	}
	_ = child.Wait() // killed
	return lines
}

// TestI6AcknowledgedWritesSurviveKills kills a writing process at random moments and proves every
// acknowledged write of all rounds by its receipt, after each.
func TestI6AcknowledgedWritesSurviveKills(t *testing.T) {
	t.Parallel() // most of it is waiting for processes
	rounds := 30
	dir := t.TempDir()
	var all []acked
	var heads []core.TreeHead
	behind := 0 // kills after which the state lacked what was acknowledged
	for round := range rounds {
		fresh := runAndKill(t, dir, time.Duration(rand.IntN(60_000))*time.Microsecond)
		all = append(all, fresh...)
		if n := len(fresh); n > 0 && stateSeq(t, dir) < fresh[n-1].receipt.Seq {
			behind++
		}
		s, err := Open(t.Context(), Config{Dir: dir, Node: "n1", tune: smallLogs, segmentBytes: 8 << 10})
		if err != nil {
			t.Fatalf("round %d: open after the kill: %v", round, err)
		}
		head, err := s.Head(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		proveAll(t, s, head, fresh)
		proveConsistent(t, s, heads, head)
		heads = append(heads, head)
		if round%10 == 9 {
			proveAll(t, s, head, all)
			if err := s.Verify(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		// What was in flight is there once or not at all: repeating it must not write it twice.
		for _, a := range fresh[max(0, len(fresh)-5):] {
			again, err := s.Propose(t.Context(), writeTxn(a.id, "another value"))
			if err != nil || !again.Replayed || again.Seq != a.receipt.Seq {
				t.Fatalf("repeat of %s: %+v, %v; want a replay of %d", a.id, again, err, a.receipt.Seq)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d acknowledged writes, %d records; after %d of %d kills the state was behind", len(all), heads[len(heads)-1].Size, behind, rounds)
	if len(all) < rounds || behind == 0 {
		t.Fatalf("%d writes were acknowledged in %d rounds, and the state was behind %d times: the test has tested nothing", len(all), rounds, behind)
	}
}

// stateSeq is the newest record that the state file has.
func stateSeq(t *testing.T, dir string) uint64 {
	t.Helper()
	path := filepath.Join(dir, stateFile)
	if _, err := os.Stat(path); err != nil {
		return 0
	}
	m, err := fsm.Open(path, fsm.Options{})
	if err != nil {
		t.Fatal(err)
	}
	seq := m.Position().Seq
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	return seq
}

func proveAll(t *testing.T, s *Store, head core.TreeHead, writes []acked) {
	t.Helper()
	for _, a := range writes {
		record, err := s.Record(t.Context(), a.receipt.Seq)
		if err != nil {
			t.Fatalf("acknowledged write %s is gone: %v", a.id, err)
		}
		if record.LeafHash != a.receipt.LeafHash || record.Txn.Ops[0].ID != a.id || a.receipt.Origin != head.Origin {
			t.Fatalf("record %d is not what was acknowledged as %s", a.receipt.Seq, a.id)
		}
		path, err := s.InclusionProof(t.Context(), a.receipt.Seq, head.Size)
		if err != nil {
			t.Fatal(err)
		}
		if err := audit.VerifyInclusion(head, a.receipt.Seq, a.receipt.LeafHash, path); err != nil {
			t.Fatal(err)
		}
	}
}

func proveConsistent(t *testing.T, s *Store, before []core.TreeHead, head core.TreeHead) {
	t.Helper()
	for _, old := range before {
		path, err := s.ConsistencyProof(t.Context(), old.Size, head.Size)
		if err != nil {
			t.Fatal(err)
		}
		if err := audit.VerifyConsistency(old, head, path); err != nil {
			t.Fatal(err)
		}
	}
}
