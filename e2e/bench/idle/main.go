// Command idle measures what instar costs when nothing happens: memory of the daemon and of each driver, CPU
// over 30 seconds at rest with ten services, and the time from exec to the daemon's first answer.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/api/client"
	"github.com/instarhq/instar/e2e/bench/process"
	"github.com/instarhq/instar/e2e/bench/report"
	"github.com/instarhq/instar/e2e/node"
)

func main() {
	rest := flag.Duration("rest", 30*time.Second, "how long the daemon is watched at rest")
	services := flag.Int("services", 10, "how many services it has then")
	starts := flag.Int("starts", 7, "how often it is started; the median counts")
	flag.Parse()
	if err := run(context.Background(), *rest, *services, *starts); err != nil {
		fmt.Fprintln(os.Stderr, "bench-idle:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, rest time.Duration, services, starts int) (err error) {
	repository, err := node.Repository()
	if err != nil {
		return err
	}
	dir, err := node.TempDir()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	// The binaries get a folder of their own, so that their processes can be told from all others.
	bin := filepath.Join(dir, "bin")
	if err := os.CopyFS(bin, os.DirFS(filepath.Join(repository, "build/bin"))); err != nil {
		return err
	}
	fresh, err := startUps(ctx, bin, dir, starts)
	if err != nil {
		return err
	}
	rows := []report.Row{row("empty data directory", "first_answer", report.Median(fresh), "ms")}
	n, err := node.Start(ctx, node.Options{Bin: bin, DataDir: filepath.Join(dir, "d")})
	if err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		err = errors.Join(err, n.Teardown(ctx))
	}()
	for i := range services {
		if err := deploy(ctx, n, repository, i); err != nil {
			return fmt.Errorf("service %d: %w", i, err)
		}
	}
	more, err := atRest(ctx, n, bin, rest, fmt.Sprintf("%d services at rest", services))
	if err != nil {
		return err
	}
	again, err := restarts(ctx, n, starts)
	if err != nil {
		return err
	}
	rows = append(rows, more...)
	rows = append(rows, row(fmt.Sprintf("%d services", services), "first_answer", report.Median(again), "ms"))
	return report.Write(os.Stdout, "idle", rows)
}

func row(name, metric string, value float64, unit string) report.Row {
	return report.Row{Case: name, Subject: "instar", Metric: metric, Value: value, Unit: unit}
}

// startUps measures the time from exec to the first answer on empty data directories.
func startUps(ctx context.Context, bin, dir string, starts int) ([]float64, error) {
	var times []float64
	for i := range starts {
		n, err := node.Start(ctx, node.Options{Bin: bin, DataDir: filepath.Join(dir, fmt.Sprint("fresh", i))})
		if err != nil {
			return nil, err
		}
		times = append(times, milliseconds(n.FirstAnswer))
		if err := n.Teardown(ctx); err != nil {
			return nil, err
		}
	}
	return times, nil
}

// restarts measures the same with services, drivers and instances there already.
func restarts(ctx context.Context, n *node.Node, starts int) ([]float64, error) {
	var times []float64
	for range starts {
		if err := n.Stop(ctx); err != nil {
			return nil, err
		}
		if err := n.Start(ctx); err != nil {
			return nil, err
		}
		times = append(times, milliseconds(n.FirstAnswer))
	}
	return times, nil
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// deploy declares a shop with one instance and a route, and waits until it serves.
func deploy(ctx context.Context, n *node.Node, repository string, i int) error {
	listen, err := node.FreeAddress()
	if err != nil {
		return err
	}
	name := fmt.Sprintf("shop%d", i)
	spec := core.Spec{
		Artifact: core.Artifact{Source: filepath.Join(repository, "build/shop/1/shop")},
		Compute:  core.Compute{Driver: "process", Config: []byte(`{"command":["./shop","-listen","127.0.0.1:${port.http}"]}`)},
		Ports:    []core.Port{{Name: "http"}},
		Health:   []core.HealthCheck{{Type: core.CheckHTTP, Port: "http", Path: "/healthz", HealthyFor: core.Duration(time.Millisecond)}},
		Routes:   []core.RouteSpec{{Name: name, Driver: "proxy", Listen: listen, Protocol: core.ProtocolHTTP, Port: "http"}},
		Rollout:  core.RolloutSpec{Strategy: core.StrategyBlueGreen},
	}
	applied, err := n.API.Apply(ctx, client.Write{}, core.Set{Services: []core.Declared{{Name: name, Count: 1, Spec: spec}}}, nil)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		view, err := n.API.Rollout(ctx, applied.Rollouts[0])
		if err != nil {
			return err
		}
		if view.Rollout.Phase.Good() {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("rollout %s is %s: %w", applied.Rollouts[0], view.Rollout.Phase, ctx.Err())
		}
	}
}

// atRest measures memory and CPU of the daemon and its drivers while nothing is asked of them.
func atRest(ctx context.Context, n *node.Node, bin string, rest time.Duration, name string) ([]report.Row, error) {
	const settle = 3 * time.Second
	if err := sleep(ctx, settle); err != nil {
		return nil, err
	}
	var rows []report.Row
	pids := map[string]int{"instard": n.Pid()}
	for _, driver := range []string{"instar-compute-process", "instar-traffic-proxy"} {
		found, err := process.Of(filepath.Join(bin, driver))
		if err != nil || len(found) != 1 {
			return nil, fmt.Errorf("processes of %s: %v, %w", driver, found, err)
		}
		pids[driver] = found[0]
	}
	before := map[string]process.Usage{}
	for program, pid := range pids {
		usage, err := process.Read(pid)
		if err != nil {
			return nil, err
		}
		before[program] = usage
	}
	began := time.Now()
	if err := sleep(ctx, rest); err != nil {
		return nil, err
	}
	took := time.Since(began)
	for _, program := range []string{"instard", "instar-compute-process", "instar-traffic-proxy"} {
		usage, err := process.Read(pids[program])
		if err != nil {
			return nil, err
		}
		cpu := 100 * float64(usage.CPU-before[program].CPU) / float64(took)
		rows = append(rows, row(name+": "+program, "memory", float64(usage.RSS)/(1<<20), "MiB"), row(name+": "+program, "cpu", cpu, "% of a core"))
	}
	return rows, nil
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
