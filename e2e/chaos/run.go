package chaos

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/instarhq/instar/e2e/clock"
	"github.com/instarhq/instar/e2e/lab"
	"github.com/instarhq/instar/e2e/node"
)

const hosts = 3

// Config says how to run.
type Config struct {
	Bin      string // the folder with the binaries
	Shop     string // the folder with announce and shop: the service's artifact
	Static   bool   // the binaries are as the product is built; else they have the race detector
	Duration time.Duration
	Seed     uint64
	Out      io.Writer // the story
}

// run is one run.
type run struct {
	Config
	dir       string
	births    string
	lab       *lab.Lab
	cluster   *node.Cluster
	clocks    *clock.Clocks
	history   *history
	customers *customers
	began     time.Time

	mu       sync.Mutex
	windows  []window
	readOnly int // host whose disk is read-only; -1: none
	rollouts int
}

// convergence is what customers may notice after a fault that they may notice: until health checks and
// grace periods have done their work.
const convergence = 20 * time.Second

// clockPatience is what a daemon gets to follow its clock.
const clockPatience = 30 * time.Second

// Run runs and judges. The error says everything that was found wrong.
func Run(ctx context.Context, config Config) (err error) {
	r := &run{Config: config, readOnly: -1}
	r.say("seed %d, for %s", r.Seed, r.Duration)
	defer func() { err = errors.Join(err, r.tearDown()) }()
	if err := r.setUp(ctx); err != nil {
		return err
	}
	busy, stop := context.WithCancel(ctx)
	defer stop()
	var group sync.WaitGroup
	r.occupy(busy, &group)
	err = r.trouble(ctx)
	if err == nil {
		err = r.converge(ctx)
	}
	stop()
	group.Wait()
	if err != nil {
		return fmt.Errorf("seed %d: %w", r.Seed, err)
	}
	if err := r.judge(ctx); err != nil {
		return fmt.Errorf("seed %d: %w", r.Seed, err)
	}
	return nil
}

func (r *run) say(format string, args ...any) {
	at := time.Duration(0)
	if !r.began.IsZero() {
		at = time.Since(r.began)
	}
	_, _ = fmt.Fprintf(r.Out, "%7.1fs  %s\n", at.Seconds(), fmt.Sprintf(format, args...))
}

func (r *run) setUp(ctx context.Context) (err error) {
	r.began = time.Now()
	if r.dir, err = node.TempDir(); err != nil {
		return err
	}
	r.births = filepath.Join(r.dir, "births")
	if err := os.WriteFile(r.births, nil, 0o600); err != nil {
		return err
	}
	if err := os.Chmod(r.births, 0o666); err != nil { //nolint:gosec // instances run as other users
		return err
	}
	bin, err := r.build(ctx)
	if err != nil {
		return err
	}
	if r.lab, err = lab.New(ctx, hosts); err != nil {
		return err
	}
	for i := range hosts {
		if err := errors.Join(mount(ctx, r.disk(i)), mount(ctx, r.store(i))); err != nil {
			return err
		}
	}
	r.cluster, err = node.StartCluster(ctx, node.ClusterOptions{
		Bin: bin, Dir: r.dir, Voters: hosts, Host: r.lab.Address, Port: 4748,
		Wrap:   func(i int, command []string) []string { return r.lab.Wrap(i, r.clocks.Wrap(i, command)) },
		Config: "compute \"process\" \"local\" {\n  address = \"ADDRESS\"\n}\ntraffic \"proxy\" \"local\" {}\n",
		Member: "node_grace = \"8s\"",
	})
	if err != nil {
		return err
	}
	if err := r.apply(ctx, 0, 1); err != nil {
		return fmt.Errorf("the first version: %w", err)
	}
	r.say("three nodes, and the first version serves")
	return nil
}

// build makes the binaries with an instard whose clock can be set.
func (r *run) build(ctx context.Context) (string, error) {
	if !clock.Supported() {
		return "", errors.New("the clocks of hosts can be set on linux with amd64 only")
	}
	repository, err := node.Repository()
	if err != nil {
		return "", err
	}
	r.clocks = clock.New(r.dir)
	bin := filepath.Join(r.dir, "bin")
	return bin, clock.Build(ctx, repository, node.Variant{Bin: r.Bin, Out: bin, Race: !r.Static, Static: r.Static})
}

// disk is where a host's data directory is: a file system of its own.
func (r *run) disk(i int) string { return filepath.Join(r.dir, fmt.Sprint("n", i+1)) }

// store is where a host's log and state are: another file system, so that it can be taken from the daemon alone.
func (r *run) store(i int) string { return filepath.Join(r.disk(i), "store") }

// occupy starts everything that goes on meanwhile.
func (r *run) occupy(ctx context.Context, group *sync.WaitGroup) {
	r.history = &history{began: time.Now()}
	for i := range 2 * hosts {
		random := rand.New(rand.NewPCG(r.Seed, uint64(i)+1))
		group.Go(func() { r.history.run(ctx, i, r.cluster.Nodes[i%hosts], random) })
	}
	r.customers = &customers{lab: r.lab}
	for i := range hosts {
		group.Go(func() { r.customers.run(ctx, i+1) })
	}
	group.Go(func() { r.replace(ctx) })
}

// replace begins one version after the other, through one node after the other. What becomes of each is
// the rollout's business; that the log obeys the invariants is judged in the end.
func (r *run) replace(ctx context.Context) {
	for version := 2; ctx.Err() == nil; version++ {
		one, cancel := context.WithTimeout(ctx, 45*time.Second)
		if r.apply(one, version%hosts, version) == nil {
			r.mu.Lock()
			r.rollouts++
			r.mu.Unlock()
		}
		cancel()
		r.rest(ctx, 2*time.Second)
	}
}

func (r *run) apply(ctx context.Context, at, version int) error {
	repository, err := node.Repository()
	if err != nil {
		return err
	}
	out, err := r.cluster.Nodes[at].CLI(ctx, "apply", "-yes", filepath.Join(repository, "e2e/chaos/testdata/service.hcl"),
		"-var", fmt.Sprint("version=", version), "-var", "artifact="+r.Shop, "-var", "births="+r.births)
	if err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	return nil
}

// trouble plays the schedule.
func (r *run) trouble(ctx context.Context) error {
	random := rand.New(rand.NewPCG(r.Seed, 0))
	for end := time.Now().Add(r.Duration); time.Now().Before(end); {
		s := next(random, hosts)
		r.rest(ctx, s.gap)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		r.say("%s (n%d, for %s)", s.fault.name, s.at+1, s.hold)
		began := time.Now()
		if err := s.fault.begin(ctx, r, s.at, random); err != nil {
			return fmt.Errorf("%s: %w", s.fault.name, err)
		}
		r.rest(ctx, s.hold)
		over := s.fault.end
		if over == nil {
			over = func(ctx context.Context, r *run, _ int) error { return errors.Join(r.lab.Heal(ctx), r.revive(ctx)) }
		}
		if err := over(ctx, r, s.at); err != nil {
			return fmt.Errorf("the end of: %s: %w", s.fault.name, err)
		}
		if s.fault.noticed {
			r.mu.Lock()
			r.windows = append(r.windows, window{began, time.Now().Add(convergence)})
			r.mu.Unlock()
		}
	}
	return nil
}

// rest lets time pass: the schedule is made of it.
func (r *run) rest(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

func (r *run) kill(at int) error {
	n := r.cluster.Nodes[at]
	if !n.Running() {
		return nil
	}
	return n.Kill()
}

// other is another host than at; k is 1 or 2.
func (r *run) other(at, k int) int { return (at + k) % hosts }

// leader is the leader's host; the given one if none is known within a moment.
func (r *run) leader(ctx context.Context, otherwise int) int {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	at, err := r.cluster.Leader(ctx)
	if err != nil {
		return otherwise
	}
	return at
}

// revive starts what is down and lets go on what stands still.
func (r *run) revive(ctx context.Context) error {
	var errs []error
	for i, n := range r.cluster.Nodes {
		if n.Running() {
			errs = append(errs, n.Continue())
			continue
		}
		if err := n.StartAgain(ctx); err != nil {
			errs = append(errs, fmt.Errorf("start n%d again: %w", i+1, err))
		}
	}
	return errors.Join(errs...)
}

// step sets the wall clocks of hosts, and waits for those whose daemon runs.
func (r *run) step(ctx context.Context, offset time.Duration, at ...int) error {
	ctx, cancel := context.WithTimeout(ctx, clockPatience)
	defer cancel()
	var errs []error
	for _, i := range at {
		errs = append(errs, r.clocks.Set(i+1, offset))
	}
	for _, i := range at {
		if r.cluster.Nodes[i].Running() {
			errs = append(errs, r.clocks.Await(ctx, i+1, offset))
		}
	}
	r.say("clocks of %v: %s", at, offset)
	return errors.Join(errs...)
}

// remount makes a host's store read-only, or the one that is writable again.
func (r *run) remount(ctx context.Context, at int, mode string) error {
	if mode == "rw" {
		at, r.readOnly = r.readOnly, -1
	} else {
		r.readOnly = at
	}
	if at < 0 {
		return nil
	}
	return sh(ctx, "mount", "-o", "remount,"+mode, r.store(at))
}

func (r *run) tearDown() error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	var errs []error
	if r.lab != nil {
		errs = append(errs, r.lab.Heal(ctx), r.remount(ctx, -1, "rw"))
	}
	if r.cluster != nil {
		errs = append(errs, r.cluster.Teardown(ctx))
	}
	if r.lab != nil {
		for i := range hosts {
			errs = append(errs, r.lab.Vanish(ctx, i+1))
		}
		errs = append(errs, r.lab.Close())
	}
	for i := range hosts {
		if r.dir != "" {
			_ = sh(ctx, "umount", "-l", r.store(i)) // neither is mounted if the set-up has failed
			_ = sh(ctx, "umount", "-l", r.disk(i))
		}
	}
	if r.dir != "" {
		errs = append(errs, os.RemoveAll(r.dir))
	}
	return errors.Join(errs...)
}
