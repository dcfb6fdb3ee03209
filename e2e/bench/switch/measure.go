package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/instarhq/instar/e2e/bench/report"
	"github.com/instarhq/instar/e2e/load"
	"github.com/instarhq/instar/sdk"
)

// What belongs to a switch beside the call of Apply.
const (
	justBefore = 50 * time.Millisecond
	justAfter  = 250 * time.Millisecond
)

// tally is what all rounds of one data plane have shown.
type tally struct {
	requests, switches int
	complaints         []string
	inside, outside    []time.Duration // latencies, by whether a switch was under way
	applies            []time.Duration
}

// measure runs one round.
func measure(ctx context.Context, o options, p *plane, shops [revisions][]sdk.Endpoint, t *tally) error {
	const base = 200 // requests per second of ShopStreams(1)
	scale := o.rate / base
	run, err := load.Start(ctx, load.Config{
		Target: p.route.Listen, RevisionHeader: load.ShopRevisionHeader,
		Streams: append(load.ShopStreams(scale), load.ShopIdlePosts(1)),
	})
	if err != nil {
		return err
	}
	timeline := load.NewTimeline(active(p), time.Now())
	var windows []load.Window
	switches, requests := o.switches/o.rounds, o.requests/o.rounds
	for n := range switches {
		// Evenly over the round's requests, with room before the first and after the last.
		if err := reach(ctx, run, requests*(n+1)/(switches+1)); err != nil {
			run.Stop()
			return err
		}
		to := 3 - active(p)
		began := time.Now()
		if err := p.activate(ctx, shops, to); err != nil {
			run.Stop()
			return err
		}
		ended := time.Now()
		timeline = timeline.Switch(to, began, ended)
		windows = append(windows, load.Window{From: began.Add(-justBefore), To: ended.Add(justAfter)})
		t.applies = append(t.applies, ended.Sub(began))
	}
	err = reach(ctx, run, requests)
	t.add(run.Stop(), timeline, windows)
	t.switches += switches
	return err
}

func active(p *plane) int {
	return slices.IndexFunc(p.route.Pools, func(pool sdk.Pool) bool { return pool.Weight > 0 }) + 1
}

// reach waits until the run has made so many requests.
func reach(ctx context.Context, run *load.Run, requests int) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	last, since := 0, time.Now()
	for {
		now, _ := run.Count()
		if now >= requests {
			return nil
		}
		if now > last {
			last, since = now, time.Now()
		} else if time.Since(since) > 20*time.Second {
			return fmt.Errorf("no request has ended for 20 s")
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (t *tally) add(result *load.Result, timeline load.Timeline, windows []load.Window) {
	t.requests += len(result.Records)
	t.complaints = append(t.complaints, result.Failures(len(result.Records))...)
	t.complaints = append(t.complaints, result.WrongRevision(timeline)...)
	if result.Lost > 0 {
		t.complaints = append(t.complaints, fmt.Sprintf("%d of %d WebSocket sessions were lost", result.Lost, result.Sessions))
	}
	for i := range result.Records {
		record := &result.Records[i]
		if record.Kind == load.WebSocket {
			continue // opening one has no schedule
		}
		at := result.Start.Add(record.Intended)
		during := slices.ContainsFunc(windows, func(w load.Window) bool { return !at.Before(w.From) && at.Before(w.To) })
		if during {
			t.inside = append(t.inside, record.Latency())
		} else {
			t.outside = append(t.outside, record.Latency())
		}
	}
}

func (t *tally) rows(subject string) (rows []report.Row) {
	add := func(name, metric string, value float64, unit string) {
		rows = append(rows, report.Row{Case: name, Subject: subject, Metric: metric, Value: value, Unit: unit})
	}
	add("all", "requests", float64(t.requests), "")
	add("all", "failures", float64(len(t.complaints)), "")
	add("all", "switches", float64(t.switches), "")
	add("all", "apply p50", milliseconds(percentile(t.applies, 0.5)), "ms")
	add("all", "apply max", milliseconds(percentile(t.applies, 1)), "ms")
	for _, part := range []struct {
		name      string
		latencies []time.Duration
	}{{"within a switch", t.inside}, {"outside", t.outside}} {
		add(part.name, "requests", float64(len(part.latencies)), "")
		for _, p := range []struct {
			name  string
			share float64
		}{{"p50", 0.5}, {"p99", 0.99}, {"p999", 0.999}} {
			add(part.name, p.name, milliseconds(percentile(part.latencies, p.share)), "ms")
		}
	}
	inside, outside := percentile(t.inside, 0.99), percentile(t.outside, 0.99)
	add("p99 within / outside", "ratio", float64(inside)/float64(max(outside, 1)), "")
	return rows
}

// percentile sorts the latencies and picks by the nearest-rank method.
func percentile(latencies []time.Duration, p float64) time.Duration {
	if len(latencies) == 0 {
		return 0
	}
	slices.Sort(latencies)
	rank := int(p*float64(len(latencies)) + 0.999999)
	return latencies[min(max(rank, 1), len(latencies))-1]
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
