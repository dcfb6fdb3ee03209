package raftstore

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/instarhq/instar/core"
)

// writeUntilFull writes with a limit on the size of files, which the kernel reports as it does a full
// disk: as an error in the middle of a write.
func writeUntilFull(dir string) error {
	var limit uint64
	dir, what, _ := strings.Cut(dir, ":")
	if _, err := fmt.Sscan(dir[strings.LastIndex(dir, "-")+1:], &limit); err != nil {
		return err
	}
	dir = dir[:strings.LastIndex(dir, "-")]
	config := Config{Dir: dir, Node: "n1"}
	if what == "state" {
		config.segmentBytes = 1 << 20 // the state is behind the log: none of whose files may be the first to reach the limit
	}
	s, err := Open(context.Background(), config)
	if err != nil {
		return err
	}
	signal.Ignore(unix.SIGXFSZ)
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: limit, Max: limit}); err != nil {
		return err
	}
	for i := 0; ; i++ {
		txn := writeTxn(fmt.Sprint(i), strings.Repeat("x", 100_000))
		if what == "log" && i > 0 {
			txn.Ops[0].ID = "0" // exists: a refused transaction is in Raft's log, but not in the state
		}
		receipt, err := s.Propose(context.Background(), txn)
		if err == nil {
			fmt.Println("ack", receipt.Seq)
			continue
		}
		if core.IsConflict(err) {
			continue
		}
		fmt.Printf("refused %s %v\n", core.CodeOf(err), err)
		break
	}
	select {
	case err := <-s.Failed():
		fmt.Println("failed", err)
	case <-time.After(10 * time.Second):
		fmt.Println("error: the store has not failed")
	}
	_, err = s.Propose(context.Background(), writeTxn("after", "x"))
	fmt.Printf("after %s %v\n", core.CodeOf(err), err)
	if _, err := s.Get(context.Background(), core.KindService, "0", 0); err != nil {
		fmt.Println("error: read after the failure:", err)
	}
	fmt.Println("closed", s.Close())
	os.Exit(0)
	return nil
}

// TestDiskFull lets the disk run full under the state file and under Raft's log.
func TestDiskFull(t *testing.T) {
	t.Parallel() // most of it is waiting for a process
	for name, c := range map[string]struct {
		limit int
		file  string
	}{
		"state": {8 << 20, "state.db"},
		"log":   {6 << 20, "append to the log"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			child := exec.Command(os.Args[0])
			child.Env = append(os.Environ(), fmt.Sprintf("%s=full:%s-%d:%s", childEnv, dir, c.limit, name))
			child.Stderr = os.Stderr
			stdout, err := child.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := child.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = child.Process.Kill() })
			var refused, failed, after string
			last := uint64(0)
			for in := bufio.NewScanner(stdout); in.Scan(); {
				switch word, rest, _ := strings.Cut(in.Text(), " "); word {
				case "ack":
					_, _ = fmt.Sscan(rest, &last)
				case "refused":
					refused = rest
				case "failed":
					failed = rest
				case "after":
					after = rest
				case "closed":
				default:
					t.Error(in.Text())
				}
			}
			if err := child.Wait(); err != nil {
				t.Fatal(err)
			}
			t.Logf("refused: %s\nfailed: %s\nafter: %s", refused, failed, after)
			// Unknown if it was on its way when the disk failed, refused if it came after.
			known := strings.HasPrefix(refused, "timeout") || strings.HasPrefix(refused, "unavailable")
			if last == 0 || !known || !strings.Contains(failed, "file too large") || !strings.Contains(failed, c.file) ||
				!strings.HasPrefix(after, "unavailable") || !strings.Contains(after, "file too large") {
				t.Fatalf("%d writes, then %q, failure %q, then %q", last, refused, failed, after)
			}
			// With room again, everything that was acknowledged is there, and the one in doubt once or not.
			s := openStore(t, Config{Dir: dir})
			if s.Seq() != last && s.Seq() != last+1 {
				t.Fatalf("%d writes were acknowledged, the store is at %d", last, s.Seq())
			}
			if err := s.Verify(t.Context()); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Propose(t.Context(), writeTxn("room", "x")); err != nil {
				t.Fatal(err)
			}
		})
	}
}
