// Command docker measures how long it takes to replace the containers of one service: by instar, by the bare
// calls to the Engine's API that no replacement can do without, and by `docker service update` of a one-node
// swarm: all at once, blue-green, and a fifth of them at a time, rolling. All use one private engine, one image and the same concurrency, in turn; the medians count.
//
// The swarm is measured twice: with the health check that instar makes, which Docker makes for the first time
// when its interval is over, and without one, which is the best it can do.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/instarhq/instar/e2e/bench/report"
	"github.com/instarhq/instar/e2e/node"
	"github.com/instarhq/instar/plugins/compute/docker/dockertest"
)

const (
	port = 8080 // that the program in the image listens on
	// creates is how many instances instar makes at a time on a node.
	creates = 16
	// interval is that of the health checks: Docker's are processes in the container, and 100 containers cannot be
	// checked much more often on a small machine.
	interval = 5 * time.Second
	grace    = 10 * time.Second
	// limit is for one replacement.
	limit = 10 * time.Minute
)

// subject is somebody who replaces all containers of a service. Prepare makes them, untimed; Clear removes them.
type subject interface {
	prepare(ctx context.Context, n int) error
	replace(ctx context.Context, n int, v variant) (time.Duration, error)
	clear(ctx context.Context) error
}

func main() {
	instances := flag.Int("instances", 50, "containers of the service")
	rounds := flag.Int("rounds", 5, "replacements by each; the median counts")
	strategies := flag.String("strategies", "blue_green,rolling", "how they are replaced")
	flag.Parse()
	variants, err := variantsOf(*strategies, *instances)
	if err == nil {
		err = run(context.Background(), *instances, *rounds, variants)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench-docker:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, instances, rounds int, variants []variant) (err error) {
	engine, image, err := startEngine(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, engine.Stop()) }()
	swarm, err := joinSwarm(ctx, engine, image)
	if err != nil {
		return err
	}
	instar, err := startInstar(ctx, engine, image)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, instar.close()) }()
	names := []string{"floor", "instar", "swarm", "swarm without checks"}
	subjects := []subject{&floor{engine: engine, image: image}, instar, swarm.with("checked", true), swarm.with("unchecked", false)}
	var rows []report.Row
	for _, v := range variants {
		took := make([][]float64, len(subjects))
		for round := range rounds {
			for i, s := range subjects {
				d, err := measure(ctx, s, instances, v)
				if err != nil {
					return fmt.Errorf("%s: %w", names[i], err)
				}
				took[i] = append(took[i], d.Seconds())
				fmt.Fprintf(os.Stderr, "%s round %d: %s: %.1f s\n", v.strategy, round+1, names[i], d.Seconds())
			}
		}
		at := fmt.Sprintf("%s %d", v.strategy, instances)
		for i, name := range names {
			median := report.Median(took[i])
			rows = append(rows,
				report.Row{Case: at, Subject: name, Metric: "replaced", Value: median, Unit: "s"},
				report.Row{Case: at, Subject: name, Metric: "to_floor", Value: median / report.Median(took[0]), Unit: "×"})
		}
	}
	return report.Write(os.Stdout, "docker", rows)
}

// measure times one replacement. What others have made is not there meanwhile.
func measure(ctx context.Context, s subject, n int, v variant) (took time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if err := s.prepare(ctx, n); err != nil {
		return 0, err
	}
	took, err = s.replace(ctx, n, v)
	return took, errors.Join(err, s.clear(ctx))
}

// startEngine starts an engine with the shop as its image, which everybody names by its id: a swarm asks a
// registry for any other before every container.
func startEngine(ctx context.Context) (_ *dockertest.Engine, image string, err error) {
	repository, err := node.Repository()
	if err != nil {
		return nil, "", err
	}
	engine, err := dockertest.Start(ctx)
	if err != nil {
		return nil, "", err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, engine.Stop())
		}
	}()
	shop := filepath.Join(engine.Dir, "shop")
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", shop, "./examples/shop")
	build.Dir, build.Env = repository, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return nil, "", fmt.Errorf("build the shop: %w\n%s", err, out)
	}
	data, err := os.ReadFile(shop)
	if err != nil {
		return nil, "", err
	}
	image, err = engine.Busybox(ctx, "instar/bench:1", []dockertest.File{{Path: "shop", Data: data, Mode: 0o755}},
		fmt.Sprintf(`ENTRYPOINT ["/shop", "-listen", ":%d"]`, port))
	return engine, image, err
}
