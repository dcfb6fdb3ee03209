package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"time"

	"github.com/instarhq/instar/e2e/bench/report"
)

// cases are the answers that are asked for.
var cases = []struct{ name, path string }{{"small", "/small"}, {"64KiB", "/large"}}

type key struct{ Case, subject string }

type sample struct{ rate, p99 float64 }

// measureAll goes round by round over all cases and servers, so that what else the machine does hits all
// of them alike.
func measureAll(ctx context.Context, o options, servers []*server) ([]report.Row, error) {
	samples := make(map[key][]sample)
	for round := range o.rounds {
		for _, c := range cases {
			for _, s := range servers {
				got, err := load(ctx, o, "http://"+s.address+c.path)
				if err != nil {
					return nil, fmt.Errorf("%s, %s: %w", s.name, c.name, err)
				}
				fmt.Fprintf(os.Stderr, "round %d of %d: %-6s %-8s %8.0f/s\n", round+1, o.rounds, c.name, s.name, got.rate)
				samples[key{c.name, s.name}] = append(samples[key{c.name, s.name}], got)
			}
		}
	}
	var rows []report.Row
	for _, c := range cases {
		for _, s := range servers {
			var rates, tails []float64
			for _, got := range samples[key{c.name, s.name}] {
				rates, tails = append(rates, got.rate), append(tails, got.p99)
			}
			rows = append(rows,
				report.Row{Case: c.name, Subject: s.name, Metric: "requests", Value: report.Median(rates), Unit: "1/s"},
				report.Row{Case: c.name, Subject: s.name, Metric: "p99", Value: report.Median(tails), Unit: "ms"})
		}
	}
	return rows, nil
}

// load runs wrk once, after a moment of warming up.
func load(ctx context.Context, o options, url string) (sample, error) {
	if _, err := wrk(ctx, o.connections, 500*time.Millisecond, url); err != nil {
		return sample{}, err
	}
	return wrk(ctx, o.connections, o.duration, url)
}

var (
	rateLine  = regexp.MustCompile(`Requests/sec:\s+([0-9.]+)`)
	tailLine  = regexp.MustCompile(`99%\s+([0-9.]+)(us|ms|s)\b`)
	errorLine = regexp.MustCompile(`(?m)^\s*(Non-2xx or 3xx responses: .*|Socket errors: .*)$`)
)

// unit is the number of milliseconds in wrk's units.
var unit = map[string]float64{"us": 0.001, "ms": 1, "s": 1000}

// wrk makes the load and reads its report. A failed request makes the measurement worthless.
func wrk(ctx context.Context, connections int, d time.Duration, url string) (sample, error) {
	// wrk itself takes whole seconds only; it reports what it has when it is interrupted.
	ctx, cancel := context.WithTimeout(ctx, d+10*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "wrk", "-t1", "-c"+strconv.Itoa(connections), "-d3600s", "--latency", url)
	timer := time.AfterFunc(d, func() { _ = cmd.Process.Signal(os.Interrupt) }) // fails only if it has ended
	defer timer.Stop()
	out, err := cmd.CombinedOutput()
	if err != nil {
		return sample{}, fmt.Errorf("wrk: %w\n%s", err, out)
	}
	if bad := errorLine.Find(out); bad != nil {
		return sample{}, fmt.Errorf("requests failed: %s", bad)
	}
	rate, tail := rateLine.FindSubmatch(out), tailLine.FindSubmatch(out)
	if rate == nil || tail == nil {
		return sample{}, fmt.Errorf("wrk reported no figures:\n%s", out)
	}
	var s sample
	if s.rate, err = strconv.ParseFloat(string(rate[1]), 64); err != nil {
		return s, err
	}
	if s.p99, err = strconv.ParseFloat(string(tail[1]), 64); err != nil {
		return s, err
	}
	s.p99 *= unit[string(tail[2])]
	return s, nil
}
