// Command proxy measures the traffic driver "proxy" beside Debian's HAProxy, nginx and Caddy: requests per
// second and the 99th percentile of the latency, with the same backend, one after the other within the same
// run, on the same cores. wrk makes the load over 64 kept-alive connections.
//
// It prints a table and writes build/bench-proxy.json; each value is the median of the rounds.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/instarhq/instar/e2e/bench/report"
)

func main() {
	options := options{}
	flag.DurationVar(&options.duration, "duration", 4*time.Second, "of one measurement")
	flag.IntVar(&options.rounds, "rounds", 3, "measurements of which the median counts")
	flag.IntVar(&options.connections, "connections", 64, "kept-alive connections")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, options); err != nil {
		fmt.Fprintln(os.Stderr, "bench-proxy:", err)
		os.Exit(1)
	}
}

type options struct {
	duration    time.Duration
	rounds      int
	connections int
}

func run(ctx context.Context, o options) (err error) {
	if err := needPrograms(); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "bench-proxy-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	// nginx's workers are another user when it is started by root.
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	servers, err := startAll(ctx, dir)
	defer func() {
		for _, s := range servers {
			err = errors.Join(err, s.stop())
		}
	}()
	if err != nil {
		return err
	}
	rows, err := measureAll(ctx, o, servers)
	if err != nil {
		return err
	}
	return report.Write(os.Stdout, "proxy", rows)
}

// programs are what the benchmark runs, with the Debian package of each.
var programs = map[string]string{"haproxy": "haproxy", "nginx": "nginx-light", "caddy": "caddy", "wrk": "wrk", "go": "golang"}

func needPrograms() error {
	var missing []string
	for program, debian := range programs {
		if _, err := find(program); err != nil {
			missing = append(missing, debian)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return fmt.Errorf("something to compare with is missing: apt-get install --no-install-recommends %s", strings.Join(missing, " "))
}

// find looks for a program also where PATH of an ordinary user does not.
func find(program string) (string, error) {
	if path, err := exec.LookPath(program); err == nil {
		return path, nil
	}
	return exec.LookPath("/usr/sbin/" + program)
}
