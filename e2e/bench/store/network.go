package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/instarhq/instar/e2e/bench/cluster"
)

const (
	// maxConnections is how many connections the clients share, at most.
	maxConnections = 16
	// warmUp is for how long clients write before it counts.
	warmUp = time.Second
	// writePatience is more than any write should take.
	writePatience = 20 * time.Second
)

type start func(ctx context.Context, dir string) (cluster.Cluster, error)

// overNetwork measures writes through the leader of three nodes.
func overNetwork(begin start, clients int) func(dir string, length time.Duration) ([]time.Duration, time.Duration, error) {
	return func(dir string, length time.Duration) (latencies []time.Duration, took time.Duration, err error) {
		dir, err = filepath.Abs(dir)
		if err != nil {
			return nil, 0, err
		}
		ctx := context.Background()
		c, err := begin(ctx, dir)
		if err != nil {
			return nil, 0, err
		}
		defer func() { err = errors.Join(err, c.Close()) }()
		leader, err := c.Leader(ctx)
		if err != nil {
			return nil, 0, err
		}
		writers := make([]cluster.Writer, 0, maxConnections)
		defer func() {
			for _, w := range writers {
				err = errors.Join(err, w.Close())
			}
		}()
		for range min(clients, maxConnections) {
			w, err := c.Writer(ctx, leader)
			if err != nil {
				return nil, 0, err
			}
			writers = append(writers, w)
		}
		counts := time.Now().Add(warmUp)
		var mu sync.Mutex
		var group sync.WaitGroup
		for n := range clients {
			group.Go(func() {
				mine, failure := writeOver(ctx, writers[n%len(writers)], fmt.Sprintf("object-%d", n), counts, counts.Add(length))
				mu.Lock()
				defer mu.Unlock()
				latencies = append(latencies, mine...)
				err = errors.Join(err, failure)
			})
		}
		group.Wait()
		if err != nil {
			logs(dir)
		}
		return latencies, length, err
	}
}

// writeOver writes until the end; what ends after that does not count.
func writeOver(ctx context.Context, w cluster.Writer, key string, counts, until time.Time) ([]time.Duration, error) {
	var latencies []time.Duration
	for {
		began := time.Now()
		ctx, cancel := context.WithTimeout(ctx, writePatience)
		err := w.Write(ctx, key)
		cancel()
		now := time.Now()
		switch {
		case err != nil:
			return latencies, err
		case now.After(until):
			return latencies, nil
		case began.After(counts):
			latencies = append(latencies, now.Sub(began))
		}
	}
}

// logs shows what the nodes said.
func logs(dir string) {
	for _, node := range cluster.Nodes {
		if text, err := os.ReadFile(filepath.Join(dir, node+".log")); err == nil && len(text) > 0 {
			fmt.Fprintf(os.Stderr, "%s: %s\n", node, text)
		}
	}
}
