// Command rollout measures what the control plane costs: how many instances of one service it replaces in a
// second, from the apply until the last old instance is gone, with a real instard and a compute driver whose
// instances cost nothing. The cost of an instance must not grow with their number.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/api/client"
	"github.com/instarhq/instar/e2e/bench/process"
	"github.com/instarhq/instar/e2e/bench/report"
	"github.com/instarhq/instar/e2e/node"
)

func main() {
	sizes := flag.String("sizes", "100,1000,10000", "numbers of instances")
	rounds := flag.Int("rounds", 3, "replacements per size; the median counts")
	flag.Parse()
	if err := run(context.Background(), *sizes, *rounds); err != nil {
		fmt.Fprintln(os.Stderr, "bench-rollout:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, sizes string, rounds int) error {
	var rows []report.Row
	for text := range strings.SplitSeq(sizes, ",") {
		n, err := strconv.Atoi(text)
		if err != nil {
			return err
		}
		more, err := measure(ctx, n, rounds)
		if err != nil {
			return fmt.Errorf("%d instances: %w", n, err)
		}
		rows = append(rows, more...)
	}
	return report.Write(os.Stdout, "rollout", rows)
}

// bench is a daemon with the no-op driver, and something for its health checks to reach.
type bench struct {
	dir      string
	node     *node.Node
	listener net.Listener
	version  int
}

func measure(ctx context.Context, n, rounds int) (rows []report.Row, err error) {
	b, err := open(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	if err := b.replace(ctx, n); err != nil { // the first: nothing is there to be replaced
		return nil, err
	}
	var rate, cpu, records []float64
	for range rounds {
		began, used, seq, err := b.state(ctx)
		if err != nil {
			return nil, err
		}
		if err := b.replace(ctx, n); err != nil {
			return nil, err
		}
		ended, usedThen, seqThen, err := b.state(ctx)
		if err != nil {
			return nil, err
		}
		rate = append(rate, float64(n)/ended.Sub(began).Seconds())
		cpu = append(cpu, float64((usedThen-used).Microseconds())/float64(n))
		records = append(records, float64(seqThen-seq)/float64(n))
	}
	row := func(metric string, values []float64, unit string) report.Row {
		return report.Row{Case: fmt.Sprint(n), Subject: "instar", Metric: metric, Value: report.Median(values), Unit: unit}
	}
	return []report.Row{
		row("replaced", rate, "instances/s"), row("cpu_of_instard", cpu, "µs/instance"), row("records", records, "1/instance"),
	}, nil
}

func open(ctx context.Context) (b *bench, err error) {
	repository, err := node.Repository()
	if err != nil {
		return nil, err
	}
	b = &bench{}
	if b.dir, err = node.TempDir(); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.close())
		}
	}()
	if b.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		return nil, err
	}
	go accept(b.listener)
	drivers := filepath.Join(b.dir, "drivers")
	if err := node.BuildPackage(ctx, repository, "./e2e/bench/rollout/noop", filepath.Join(drivers, "instar-compute-noop")); err != nil {
		return nil, err
	}
	config := filepath.Join(b.dir, "instard.hcl")
	text := fmt.Sprintf("node { name = \"n1\" }\nplugin_dirs = [%q]\nlog { level = \"warn\" }\ncompute \"noop\" \"local\" {}\n", drivers)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return nil, err
	}
	data := filepath.Join(b.dir, "d")
	if err := node.Lock(ctx, filepath.Join(repository, "build/bin"), data, filepath.Join(drivers, "instar-compute-noop")); err != nil {
		return nil, err
	}
	b.node, err = node.Start(ctx, node.Options{Bin: filepath.Join(repository, "build/bin"), DataDir: data, Config: config})
	return b, err
}

// accept is where the health checks of all instances go: the no-op driver gives each the port it asks for.
func accept(listener net.Listener) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		_ = conn.Close()
	}
}

func (b *bench) close() error {
	var err error
	if b.node != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
		defer cancel()
		err = b.node.Teardown(ctx)
	}
	if b.listener != nil {
		err = errors.Join(err, b.listener.Close())
	}
	return errors.Join(err, os.RemoveAll(b.dir))
}

// state is the time, the CPU time that instard has used, and the newest record.
func (b *bench) state(ctx context.Context) (time.Time, time.Duration, uint64, error) {
	usage, err := process.Read(b.node.Pid())
	if err != nil {
		return time.Time{}, 0, 0, err
	}
	health, err := b.node.API.Health(ctx)
	return time.Now(), usage.CPU, health.Seq, err
}

// replace deploys the next revision with n instances and waits until nothing is left of the one before.
func (b *bench) replace(ctx context.Context, n int) error {
	b.version++
	spec := core.Spec{
		Compute: core.Compute{Driver: "noop"}, Artifact: core.Artifact{Source: "noop"},
		Ports: []core.Port{{Name: "http", Number: b.listener.Addr().(*net.TCPAddr).Port}},
		Env:   map[string]string{"VERSION": strconv.Itoa(b.version)},
		Health: []core.HealthCheck{{
			Type: core.CheckTCP, Port: "http", Interval: core.Duration(time.Hour), Timeout: core.Duration(10 * time.Second),
			HealthyFor: core.Duration(time.Millisecond), Failures: 3,
		}},
		Rollout: core.RolloutSpec{Strategy: core.StrategyBlueGreen, ProgressDeadline: core.Duration(10 * time.Minute)},
		Grace:   core.Duration(time.Second),
	}
	set := core.Set{Services: []core.Declared{{Name: "bench", Count: n, Spec: spec}}}
	applied, err := b.node.API.Apply(ctx, client.Write{}, set, nil)
	if err != nil {
		return err
	}
	if len(applied.Rollouts) != 1 {
		return fmt.Errorf("the apply began %d rollouts, want 1", len(applied.Rollouts))
	}
	return b.over(ctx, applied.Rollouts[0], applied.Receipt.Seq)
}

// over follows the log until the rollout has ended and the replaced instances are forgotten. It asks for
// nothing that would cost the daemon more with more instances.
func (b *bench) over(ctx context.Context, id string, after uint64) error {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Minute)
	defer cancel()
	for event, err := range b.node.API.Watch(ctx, client.Watch{After: after - 1, Kinds: []core.Kind{core.KindRollout}}) {
		if err != nil {
			return fmt.Errorf("rollout %s: %w", id, err)
		}
		var rollout core.Rollout
		if event.Kind == "" || event.ID != id {
			continue
		}
		if err := json.Unmarshal(event.Object, &rollout); err != nil {
			return err
		}
		switch {
		case rollout.Phase == core.RolloutSucceeded:
			return b.gone(ctx, rollout.From)
		case rollout.Phase.Over():
			return fmt.Errorf("rollout %s is %s: %+v", id, rollout.Phase, rollout.Failure)
		}
	}
	return fmt.Errorf("rollout %s: %w", id, ctx.Err())
}

// gone waits until no instance of a revision is left.
func (b *bench) gone(ctx context.Context, revision int) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for revision != 0 {
		page, err := b.node.API.Instances(ctx, client.List{Service: "bench", Limit: 1, Revision: revision})
		if err != nil {
			return err
		}
		if len(page.Items) == 0 {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
