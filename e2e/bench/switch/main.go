// Command switch measures what customers notice of switches: a million requests at a steady rate through HAProxy, whose
// route goes back and forth between two revisions of the shop a hundred times, and a third as many through the
// embedded proxy with a third of the switches. The two take turns, block by block, on the same machine, for nine minutes in
// all.
//
// It prints a table and writes build/bench-switch.json. The load is open-loop: latencies count from the moment at which a
// request was due, so that a stall is seen by every request that would have been sent during it. At the default
// rate customers, shops and data plane together keep two cores half busy.
//
// A switch's window begins 50 ms before Apply and ends 250 ms after it, and nothing but the switch is in it: the
// instances of both revisions run and are checked from the beginning to the end, as those of a rollout are when it
// switches; no daemon, and no engine that makes containers, works on the same cores. What the drivers do each second
// (they read the data plane back and compare it) goes on inside the windows and outside of them. Half-way between
// two switches there is a control: a window of the same kind around Observe, which changes nothing. What
// its latencies differ by from those outside is the noise of the machine.
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
	flag.IntVar(&o.requests, "requests", 1_000_000, "through HAProxy, over all blocks")
	flag.IntVar(&o.switches, "switches", 100, "of HAProxy, over all blocks")
	flag.IntVar(&o.blocks, "blocks", 5, "of each data plane")
	flag.Float64Var(&o.rate, "rate", 2500, "requests per second")
	flag.Float64Var(&o.beside, "beside", 1.0/3, "share of requests and switches that the embedded proxy gets")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "bench-switch:", err)
		os.Exit(1)
	}
}

type options struct {
	requests, switches, blocks int
	rate, beside               float64
}

// block is how much of the load a data plane gets at a time.
func (o *options) block(p *plane) (requests, switches int) {
	share := 1.0
	if p.beside {
		share = o.beside
	}
	return int(share * float64(o.requests) / float64(o.blocks)), max(1, int(share*float64(o.switches)/float64(o.blocks)+0.5))
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
	for block := range o.blocks {
		for i, plane := range stage.planes {
			say := func(format string, args ...any) {
				fmt.Fprintf(os.Stderr, "block %d of %d: %s: %s\n", block+1, o.blocks, plane.name, fmt.Sprintf(format, args...))
			}
			if err := measure(ctx, o, plane, stage.shops, &tallies[i], say); err != nil {
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
