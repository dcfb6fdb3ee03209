// Command switch measures what customers notice of switches: a million requests at a steady rate through
// HAProxy, and as many through the embedded proxy, while their route goes back and forth between two
// revisions of the shop a hundred times. The two take turns, round by round, on the same machine.
//
// It prints a table and writes build/bench-switch.json. Latencies count from the moment at which a request was
// due, so that a stall is seen by every request that would have been sent during it. A switch's window
// begins 50 ms before Apply and ends 250 ms after it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/instarhq/instar/e2e/bench/report"
)

func main() {
	o := options{}
	flag.IntVar(&o.requests, "requests", 1_000_000, "through each data plane, over all rounds")
	flag.IntVar(&o.switches, "switches", 100, "of each data plane, over all rounds")
	flag.IntVar(&o.rounds, "rounds", 4, "of each data plane")
	flag.Float64Var(&o.rate, "rate", 2000, "requests per second")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "bench-switch:", err)
		os.Exit(1)
	}
}

type options struct {
	requests, switches, rounds int
	rate                       float64
}

func run(ctx context.Context, o options) (err error) {
	stage, err := newStage(ctx)
	if stage != nil {
		defer func() { err = errors.Join(err, stage.close()) }()
	}
	if err != nil {
		return err
	}
	tallies := make([]tally, len(stage.planes))
	for round := range o.rounds {
		for i, plane := range stage.planes {
			fmt.Fprintf(os.Stderr, "round %d of %d: %s\n", round+1, o.rounds, plane.name)
			if err := measure(ctx, o, plane, stage.shops, &tallies[i]); err != nil {
				return fmt.Errorf("%s: %w", plane.name, err)
			}
		}
	}
	var rows []report.Row
	failed := 0
	for i, plane := range stage.planes {
		rows = append(rows, tallies[i].rows(plane.name)...)
		failed += len(tallies[i].complaints)
		for _, line := range tallies[i].complaints[:min(len(tallies[i].complaints), 10)] {
			fmt.Fprintf(os.Stderr, "%s: %s\n", plane.name, line)
		}
	}
	if err := report.Write(os.Stdout, "switch", rows); err != nil {
		return err
	}
	if failed > 0 {
		return fmt.Errorf("%d requests failed, were answered by a wrong revision, or were lost sessions", failed)
	}
	return nil
}
