// Command failover kills leaders: `go run ./e2e/bench/failover` from the repository's root. Each round ends
// the leader of three nodes with SIGKILL while nothing else happens, and measures how long it takes until
// one of the other two has committed a write; then the node is started again, and the next round begins when it has
// caught up. instar and etcd take turns; both run with their default timeouts, and with the same load: one
// writer at each node that is left, which tries again as soon as it is refused.
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

	"github.com/instarhq/instar/e2e/bench/cluster"
	"github.com/instarhq/instar/e2e/bench/report"
)

const (
	// tryFor is how long one attempt may take: what was sent to a node just before it died never comes back.
	tryFor = 250 * time.Millisecond
	// tryAgain is between two attempts.
	tryAgain = 5 * time.Millisecond
	// giveUp is more than any election takes.
	giveUp = time.Minute
)

func main() {
	dir := flag.String("dir", "build", "keep the nodes' files in this directory")
	kills := flag.Int("kills", 20, "leaders to kill")
	flag.Parse()
	cluster.Main()
	if err := run(context.Background(), *dir, *kills); err != nil {
		fmt.Fprintln(os.Stderr, "bench failover:", err)
		os.Exit(1)
	}
}

type subject struct {
	name  string
	start func(ctx context.Context, dir string) (cluster.Cluster, error)
	group cluster.Cluster
	took  []float64 // milliseconds
}

func run(ctx context.Context, dir string, kills int) (err error) {
	if dir, err = filepath.Abs(dir); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	subjects := []*subject{{name: "instar", start: cluster.StartInstar}, {name: "etcd", start: cluster.StartEtcd}}
	work, err := os.MkdirTemp(dir, "bench-failover-")
	if err != nil {
		return err
	}
	defer func() {
		for _, s := range subjects {
			if s.group != nil {
				err = errors.Join(err, s.group.Close())
			}
		}
		err = errors.Join(err, os.RemoveAll(work))
	}()
	for _, s := range subjects {
		mine := filepath.Join(work, s.name)
		if err := os.Mkdir(mine, 0o700); err != nil {
			return err
		}
		if s.group, err = s.start(ctx, mine); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	for kill := range kills {
		for _, s := range subjects {
			took, err := killLeader(ctx, s.group)
			if err != nil {
				return fmt.Errorf("%s, kill %d: %w", s.name, kill+1, err)
			}
			s.took = append(s.took, float64(took)/float64(time.Millisecond))
		}
	}
	var rows []report.Row
	for _, s := range subjects {
		rows = append(rows, s.rows(kills)...)
	}
	return report.Write(os.Stdout, "failover", rows)
}

func (s *subject) rows(kills int) []report.Row {
	slices.Sort(s.took)
	at := func(share float64) float64 { return s.took[int(share*float64(len(s.took)-1))] }
	name := fmt.Sprintf("kill to next write, %d kills", kills)
	row := func(metric string, value float64) report.Row {
		return report.Row{Case: name, Subject: s.name, Metric: metric, Value: value, Unit: "ms"}
	}
	return []report.Row{row("min", s.took[0]), row("p50", report.Median(s.took)), row("p90", at(0.9)), row("max", s.took[len(s.took)-1])}
}

// killLeader measures one failover and mends the cluster.
func killLeader(ctx context.Context, c cluster.Cluster) (took time.Duration, err error) {
	leader, err := c.Leader(ctx)
	if err != nil {
		return 0, err
	}
	var writers []cluster.Writer
	defer func() {
		for _, w := range writers {
			_ = w.Close() // what is on its way is not waited for
		}
	}()
	for _, node := range cluster.Nodes {
		if node == leader {
			continue
		}
		w, err := c.Writer(ctx, node)
		if err != nil {
			return 0, err
		}
		// Connected before it counts; a follower may refuse it.
		first, cancel := context.WithTimeout(ctx, tryFor)
		_ = w.Write(first, "connect-"+node)
		cancel()
		writers = append(writers, w)
	}
	began := time.Now()
	if err := c.Kill(leader); err != nil {
		return 0, err
	}
	if took, err = firstWrite(ctx, writers, began); err != nil {
		return 0, err
	}
	if err := c.Start(leader); err != nil {
		return 0, err
	}
	return took, cluster.AwaitLevel(ctx, c)
}

// firstWrite gives the time until the first writer has committed something.
func firstWrite(ctx context.Context, writers []cluster.Writer, began time.Time) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, giveUp)
	defer cancel()
	done := make(chan time.Duration, len(writers))
	var group sync.WaitGroup
	for n, w := range writers {
		group.Go(func() {
			for ctx.Err() == nil {
				attempt, end := context.WithTimeout(ctx, tryFor)
				err := w.Write(attempt, fmt.Sprint("failover-", n))
				end()
				if err == nil {
					done <- time.Since(began)
					return
				}
				select {
				case <-ctx.Done():
				case <-time.After(tryAgain):
				}
			}
		})
	}
	defer group.Wait()
	defer cancel()
	select {
	case took := <-done:
		return took, nil
	case <-ctx.Done():
		return 0, errors.New("nobody has committed a write")
	}
}
