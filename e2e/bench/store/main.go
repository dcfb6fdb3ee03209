// Command store measures commits of 1 KiB values: `go run ./e2e/bench/store` from the repository's root.
//
// On one node, within its process, beside what the same disk does with bare appends, each followed by
// fsync. A commit is one durable write, to Raft's log, so a single writer is bound by the disk; many
// writers share it. The state file follows behind, some ten synced writes a second, on the same disk.
//
// And on three nodes in processes of their own, through the network protocol of the node that leads,
// beside etcd 3 with the same load: as many connections (at most 16, all to the leader), TLS with client
// certificates on every connection, the files on the same disk. Each writer has a key of its own and one write under
// way. Run it on a quiet machine: load, leader and followers share its processors.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/e2e/bench/cluster"
	"github.com/instarhq/instar/e2e/bench/report"
	"github.com/instarhq/instar/raftstore"
)

const valueBytes = 1024

func main() {
	dir := flag.String("dir", "build", "measure on the disk of this directory")
	rounds := flag.Int("rounds", 3, "how often each case is run, in turn with the others")
	seconds := flag.Float64("seconds", 3, "length of a run")
	flag.Parse()
	cluster.Main()
	length := time.Duration(*seconds * float64(time.Second))
	if err := run(*dir, *rounds, length); err != nil {
		fmt.Fprintln(os.Stderr, "bench store:", err)
		os.Exit(1)
	}
}

// benchmark is something to measure; run gives the latency of every operation.
type benchmark struct {
	name, subject string
	run           func(dir string, length time.Duration) ([]time.Duration, time.Duration, error)
}

func run(dir string, rounds int, length time.Duration) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	benchmarks := []benchmark{{"1 node, 1 writer", "append+fsync", appendAndSync}}
	for _, writers := range []int{1, 16, 256} {
		benchmarks = append(benchmarks, benchmark{"1 node, " + plural(writers, "writer"), "instar", func(dir string, length time.Duration) ([]time.Duration, time.Duration, error) {
			return commit(dir, writers, length)
		}})
	}
	for _, clients := range []int{1, 16, 256} {
		name := "3 nodes, " + plural(clients, "client")
		benchmarks = append(benchmarks,
			benchmark{name, "instar", overNetwork(cluster.StartInstar, clients)},
			benchmark{name, "etcd", overNetwork(cluster.StartEtcd, clients)})
	}
	results := make([]measured, len(benchmarks))
	for range rounds {
		for i, b := range benchmarks {
			if err := results[i].add(b, dir, length); err != nil {
				return fmt.Errorf("%s, %s: %w", b.name, b.subject, err)
			}
		}
	}
	var rows []report.Row
	for i, b := range benchmarks {
		rows = append(rows,
			report.Row{Case: b.name, Subject: b.subject, Metric: "rate", Value: report.Median(results[i].rates), Unit: "1/s"},
			report.Row{Case: b.name, Subject: b.subject, Metric: "p50", Value: report.Median(results[i].p50), Unit: "ms"},
			report.Row{Case: b.name, Subject: b.subject, Metric: "p99", Value: report.Median(results[i].p99), Unit: "ms"},
		)
	}
	return report.Write(os.Stdout, "store", rows)
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// measured has one value per round.
type measured struct{ rates, p50, p99 []float64 }

func (m *measured) add(b benchmark, dir string, length time.Duration) (err error) {
	work, err := os.MkdirTemp(dir, "bench-store-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	latencies, took, err := b.run(work, length)
	if err != nil {
		return err
	}
	if len(latencies) == 0 {
		return errors.New("nothing was done in the time")
	}
	slices.Sort(latencies)
	at := func(share float64) float64 {
		return float64(latencies[int(share*float64(len(latencies)-1))]) / float64(time.Millisecond)
	}
	m.rates = append(m.rates, float64(len(latencies))/took.Seconds())
	m.p50 = append(m.p50, at(0.5))
	m.p99 = append(m.p99, at(0.99))
	return nil
}

func appendAndSync(dir string, length time.Duration) (latencies []time.Duration, took time.Duration, err error) {
	file, err := os.OpenFile(filepath.Join(dir, "raw"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, 0, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	value := make([]byte, valueBytes)
	begin := time.Now()
	for last := begin; last.Sub(begin) < length; {
		if _, err := file.Write(value); err != nil {
			return nil, 0, err
		}
		if err := file.Sync(); err != nil {
			return nil, 0, err
		}
		now := time.Now()
		latencies = append(latencies, now.Sub(last))
		last = now
	}
	return latencies, time.Since(begin), nil
}

// commit lets writers write objects of their own, each again and again, as agents and controllers do.
func commit(dir string, writers int, length time.Duration) (latencies []time.Duration, took time.Duration, err error) {
	ctx := context.Background()
	s, err := raftstore.Open(ctx, raftstore.Config{Dir: dir, Node: "n1"})
	if err != nil {
		return nil, 0, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	value := slices.Repeat([]byte("x"), valueBytes)
	value[0], value[valueBytes-1] = '"', '"'
	var mu sync.Mutex
	var group sync.WaitGroup
	begin := time.Now()
	for w := range writers {
		group.Go(func() {
			mine, failure := write(ctx, s, fmt.Sprintf("object-%d", w), value, begin.Add(length))
			mu.Lock()
			defer mu.Unlock()
			latencies = append(latencies, mine...)
			err = errors.Join(err, failure)
		})
	}
	group.Wait()
	return latencies, time.Since(begin), err
}

func write(ctx context.Context, s core.Proposer, id string, value []byte, until time.Time) ([]time.Duration, error) {
	var latencies []time.Duration
	seq := uint64(0)
	for last := time.Now(); last.Before(until); {
		receipt, err := s.Propose(ctx, core.Txn{
			Meta: core.Meta{Principal: "bench", Verb: "bench.write"},
			Ops:  []core.Op{{Kind: core.KindInstanceStatus, ID: id, Value: value, IfSeq: seq}},
		})
		if err != nil {
			return latencies, err
		}
		seq = receipt.Seq
		now := time.Now()
		latencies = append(latencies, now.Sub(last))
		last = now
	}
	return latencies, nil
}
