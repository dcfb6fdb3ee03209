// Command audit measures the verification of an exported log beside bare SHA-256 over the same records:
// `go run ./e2e/bench/audit` from the repository's root. Verification hashes every record and every
// inner node, decodes each record and follows every object; the target is half the speed of hashing the
// records alone. Both get the same number of processors, which each case names. Records per second are by
// the wall clock; the CPU time beside them means the same on a machine that has other work as well.
package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/audit"
	"github.com/instarhq/instar/core/coretest"
	"github.com/instarhq/instar/e2e/bench/report"
)

func main() {
	rounds := flag.Int("rounds", 7, "how often each case is run, in turn with the others")
	megabytes := flag.Int("mb", 64, "size of the log")
	flag.Parse()
	if err := run(*rounds, *megabytes<<20); err != nil {
		fmt.Fprintln(os.Stderr, "bench audit:", err)
		os.Exit(1)
	}
}

// rollout has the sizes of the records, in bytes, which one rollout of the README's shop puts into the log:
// what the log of a cluster at work consists of.
var rollout = []int{
	1903, 779, 345, 345, 345, 526, 418, 418, 418, 770, 220, 230, 1556, 220, 869, 1057, // a new version
	2370, 124, 220, 230, 1552, 220, 865, 1059, // and back
}

// envelope is about what a record has beside its value.
const envelope = 140

// logs are what is verified: what a cluster writes, and records that all have one size.
func logs() (names []string, values [][]int) {
	names, values = []string{"as of rollouts"}, [][]int{nil}
	for _, record := range rollout {
		values[0] = append(values[0], max(2, record-envelope))
	}
	for _, size := range []int{256, 1024, 16 << 10} {
		names, values = append(names, fmt.Sprintf("%d B values", size)), append(values, []int{size})
	}
	return names, values
}

func run(rounds, size int) error {
	var rows []report.Row
	names, values := logs()
	for i, name := range names {
		log, err := makeLog(size, values[i])
		if err != nil {
			return err
		}
		for _, processors := range slices.Compact([]int{1, runtime.GOMAXPROCS(0)}) {
			measured, err := log.measure(rounds, processors, name+", "+cores(processors))
			if err != nil {
				return err
			}
			rows = append(rows, measured...)
		}
	}
	return report.Write(os.Stdout, "audit", rows)
}

func cores(n int) string {
	if n == 1 {
		return "1 core"
	}
	return fmt.Sprintf("%d cores", n)
}

// exported is a log as records and as an export.
type exported struct {
	records [][]byte
	bytes   int
	file    []byte
}

// makeLog writes about so many bytes of values, whose sizes are those of the list in turn.
func makeLog(size int, sizes []int) (*exported, error) {
	ctx := context.Background()
	s := coretest.NewStore()
	const objects = 1000
	for i, written := 0, 0; written < size; i++ {
		value := []byte(`"` + strings.Repeat("v", sizes[i%len(sizes)]-2) + `"`)
		written += len(value)
		op := core.Op{Kind: core.KindInstanceStatus, ID: fmt.Sprintf("shop-%05d", i%objects), Value: value}
		if i >= objects {
			op.IfSeq = uint64(i + 1 - objects)
		}
		meta := core.Meta{Principal: "agent:n1", Verb: "instance.report", RequestID: fmt.Sprintf("0123456789-%d", i), Cause: uint64(i)}
		if _, err := s.Propose(ctx, core.Txn{Meta: meta, Ops: []core.Op{op}}); err != nil {
			return nil, err
		}
	}
	var out bytes.Buffer
	head, err := audit.Export(ctx, &out, s)
	if err != nil {
		return nil, err
	}
	e := &exported{file: out.Bytes()}
	for seq := uint64(1); seq <= head.Size; seq++ {
		record, err := s.Record(ctx, seq)
		if err != nil {
			return nil, err
		}
		e.records = append(e.records, record.Raw)
		e.bytes += len(record.Raw)
	}
	return e, nil
}

// subject is one of the two that are compared. It may use as many processors as it is told.
type subject struct {
	name         string
	run          func(processors int) error
	seconds, cpu []float64
}

// measure compares both on so many processors, in turn, so that what else the machine does hits both.
func (e *exported) measure(rounds, processors int, name string) ([]report.Row, error) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(processors))
	verify := subject{name: "instar", run: func(int) error { return e.verify() }}
	bare := subject{name: "sha256", run: e.hash}
	for range rounds {
		for _, s := range []*subject{&verify, &bare} {
			if err := s.once(processors); err != nil {
				return nil, fmt.Errorf("%s: %w", s.name, err)
			}
		}
	}
	var rows []report.Row
	for _, s := range []*subject{&verify, &bare} {
		row := func(metric string, value float64, unit string) {
			rows = append(rows, report.Row{Case: name, Subject: s.name, Metric: metric, Value: value, Unit: unit})
		}
		took, cpu, records := report.Median(s.seconds), report.Median(s.cpu), float64(len(e.records))
		row("records", records/took, "1/s")
		row("throughput", float64(e.bytes)/took/1e6, "MB/s")
		row("share of sha256", report.Median(bare.seconds)/took, "")
		row("cpu", cpu/records*1e9, "ns/record")
		row("share by cpu", report.Median(bare.cpu)/cpu, "")
	}
	return rows, nil
}

func (s *subject) once(processors int) error {
	runtime.GC()
	begin, used := time.Now(), cpuTime()
	if err := s.run(processors); err != nil {
		return err
	}
	s.seconds = append(s.seconds, time.Since(begin).Seconds())
	s.cpu = append(s.cpu, (cpuTime() - used).Seconds())
	return nil
}

// cpuTime is what this process has used so far, of user and of system time.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err) // it cannot fail for the process itself
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func (e *exported) verify() error {
	result, err := audit.VerifyExport(bytes.NewReader(e.file), audit.Trust{})
	if err == nil && result.Records != uint64(len(e.records)) {
		err = errors.New("not every record was verified")
	}
	return err
}

// hash hashes the records and nothing else, on so many processors.
func (e *exported) hash(processors int) error {
	var group sync.WaitGroup
	part := (len(e.records) + processors - 1) / processors
	for begin := 0; begin < len(e.records); begin += part {
		group.Go(func() {
			for _, record := range e.records[begin:min(begin+part, len(e.records))] {
				sink(sha256.Sum256(record))
			}
		})
	}
	group.Wait()
	return nil
}

//go:noinline
func sink([sha256.Size]byte) {}
