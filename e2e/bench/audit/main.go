// Command audit measures the verification of an exported log beside bare SHA-256 over the same bytes:
// `go run ./e2e/bench/audit` from the repository's root. Verification hashes every record and every
// inner node, decodes each record and follows every object; the target is half the speed of hashing the
// records alone, on the same number of processors.
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
	"strings"
	"sync"
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

func run(rounds, size int) error {
	var rows []report.Row
	for _, valueBytes := range []int{256, 1024, 16 << 10} {
		log, err := makeLog(size/valueBytes, valueBytes)
		if err != nil {
			return err
		}
		measured, err := log.measure(rounds, fmt.Sprintf("%d B values", valueBytes))
		if err != nil {
			return err
		}
		rows = append(rows, measured...)
	}
	return report.Write(os.Stdout, "audit", rows)
}

// exported is a log as records and as an export.
type exported struct {
	records [][]byte
	bytes   int
	file    []byte
}

func makeLog(records, valueBytes int) (*exported, error) {
	ctx := context.Background()
	s := coretest.NewStore()
	value := []byte(`"` + strings.Repeat("v", valueBytes-2) + `"`)
	const objects = 1000
	for i := range records {
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

func (e *exported) measure(rounds int, name string) ([]report.Row, error) {
	subjects := []struct {
		name string
		run  func() error
	}{
		{"instar", e.verify},
		{"sha256", func() error { return e.hash(runtime.GOMAXPROCS(0)) }},
		{"sha256, one core", func() error { return e.hash(1) }},
	}
	seconds := make([][]float64, len(subjects))
	for range rounds {
		for i, subject := range subjects {
			runtime.GC()
			begin := time.Now()
			if err := subject.run(); err != nil {
				return nil, fmt.Errorf("%s: %w", subject.name, err)
			}
			seconds[i] = append(seconds[i], time.Since(begin).Seconds())
		}
	}
	var rows []report.Row
	bare := report.Median(seconds[1])
	for i, subject := range subjects {
		took := report.Median(seconds[i])
		rows = append(rows,
			report.Row{Case: name, Subject: subject.name, Metric: "records", Value: float64(len(e.records)) / took, Unit: "1/s"},
			report.Row{Case: name, Subject: subject.name, Metric: "throughput", Value: float64(e.bytes) / took / 1e6, Unit: "MB/s"},
			report.Row{Case: name, Subject: subject.name, Metric: "share of sha256", Value: bare / took, Unit: ""},
		)
	}
	return rows, nil
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
