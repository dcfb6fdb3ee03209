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

// warmUp is how long a block's latencies do not count: all customers connect at the same time, which would make those
// outside of switches look worse than they are.
const warmUp = 3 * time.Second

// tally is what all blocks of one data plane have shown.
type tally struct {
	requests, switches       int
	complaints               []string
	inside, control, outside []time.Duration // latencies, by what was under way when the request was due
	applies                  []time.Duration
}

// measure runs one block.
func measure(ctx context.Context, o options, p *plane, shops [revisions][]sdk.Endpoint, t *tally, say func(string, ...any)) error {
	const base = 200 // requests per second of ShopStreams(1)
	run, err := load.Start(ctx, load.Config{
		Target: p.route.Listen, RevisionHeader: load.ShopRevisionHeader,
		Streams: append(load.ShopStreams(o.rate/base), load.ShopIdlePosts(1)),
	})
	if err != nil {
		return err
	}
	requests, switches := o.block(p)
	b := block{plane: p, run: run, timeline: load.NewTimeline(active(p), time.Now()), shops: shops, requests: requests, say: say}
	for n := range 2 * switches {
		// Evenly over the block's requests, with room before the first and after the last.
		if err = b.reach(ctx, requests*(n+1)/(2*switches+1)); err != nil {
			break
		}
		act := b.change
		if n%2 == 0 {
			act = b.look
		}
		if err = act(ctx); err != nil {
			break
		}
	}
	if err == nil {
		err = b.reach(ctx, requests)
	}
	t.add(run.Stop(), &b)
	return err
}

// block is one block under way.
type block struct {
	plane    *plane
	run      *load.Run
	timeline load.Timeline
	shops    [revisions][]sdk.Endpoint
	requests int
	say      func(string, ...any)
	said     time.Time

	switches, controls []load.Window
	applies            []time.Duration
}

// change switches to the other revision.
func (b *block) change(ctx context.Context) error {
	to := 3 - active(b.plane)
	began := time.Now()
	if err := b.plane.activate(ctx, b.shops, to); err != nil {
		return err
	}
	ended := time.Now()
	b.timeline = b.timeline.Switch(to, began, ended)
	b.switches = append(b.switches, load.Window{From: began.Add(-justBefore), To: ended.Add(justAfter)})
	b.applies = append(b.applies, ended.Sub(began))
	return nil
}

// look is the control: it reads the data plane back.
func (b *block) look(ctx context.Context) error {
	began := time.Now()
	if _, err := b.plane.driver.Observe(ctx, b.plane.route.ID); err != nil {
		return err
	}
	b.controls = append(b.controls, load.Window{From: began.Add(-justBefore), To: time.Now().Add(justAfter)})
	return nil
}

func active(p *plane) int {
	return slices.IndexFunc(p.route.Pools, func(pool sdk.Pool) bool { return pool.Weight > 0 }) + 1
}

// patience is how long there may be no progress.
const patience = 20 * time.Second

// reach waits until the run has made so many requests, and says now and then how far it is.
func (b *block) reach(ctx context.Context, requests int) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	last, since := 0, time.Now()
	for {
		now, failed := b.run.Count()
		if time.Since(b.said) > 5*time.Second {
			b.say("%d of %d requests, %d failed, %d switches", now, b.requests, failed, len(b.switches))
			b.said = time.Now()
		}
		switch {
		case now >= requests:
			return nil
		case now > last:
			last, since = now, time.Now()
		case time.Since(since) > patience:
			return fmt.Errorf("no request has ended for %s", patience)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (t *tally) add(result *load.Result, b *block) {
	t.requests += len(result.Records)
	t.switches += len(b.switches)
	t.applies = append(t.applies, b.applies...)
	t.complaints = append(t.complaints, result.Failures(len(result.Records))...)
	t.complaints = append(t.complaints, result.WrongRevision(b.timeline)...)
	if result.Lost > 0 {
		t.complaints = append(t.complaints, fmt.Sprintf("%d of %d WebSocket sessions were lost", result.Lost, result.Sessions))
	}
	for i := range result.Records {
		record := &result.Records[i]
		if record.Kind == load.WebSocket || record.Intended < warmUp {
			continue // opening one has no schedule
		}
		at := result.Start.Add(record.Intended)
		within := func(w load.Window) bool { return !at.Before(w.From) && at.Before(w.To) }
		switch {
		case slices.ContainsFunc(b.switches, within):
			t.inside = append(t.inside, record.Latency())
		case slices.ContainsFunc(b.controls, within):
			t.control = append(t.control, record.Latency())
		default:
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
	}{{"within a switch", t.inside}, {"within a control", t.control}, {"outside", t.outside}} {
		add(part.name, "requests", float64(len(part.latencies)), "")
		for _, p := range []struct {
			name  string
			share float64
		}{{"p50", 0.5}, {"p99", 0.99}, {"p999", 0.999}} {
			add(part.name, p.name, milliseconds(percentile(part.latencies, p.share)), "ms")
		}
	}
	outside := float64(max(percentile(t.outside, 0.99), 1))
	add("p99 within a switch / outside", "ratio", float64(percentile(t.inside, 0.99))/outside, "")
	add("p99 within a control / outside", "ratio", float64(percentile(t.control, 0.99))/outside, "")
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
