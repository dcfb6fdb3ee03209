// Package verify runs the conformance suites against a driver's binary, in whatever language it is
// written: it launches the binary as instard would, and asks nothing of it but the contract. It is what
// `instar driver verify` does, and fit for a driver's own CI.
package verify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"github.com/instarhq/instar/sdk"
	"github.com/instarhq/instar/sdk/launch"
	"github.com/instarhq/instar/sdk/sdktest"
)

// checkLimit is what one check may take.
const checkLimit = 5 * time.Minute

// Options say what the checks work with. What is left empty skips the checks that need it, with a detail
// that tells so.
type Options struct {
	Target   json.RawMessage // the target's configuration
	Workload json.RawMessage // compute: of an instance that runs until it is ended; traffic: of every route

	// Compute.
	Artifact string          // source of the artifact that instances run
	Missing  string          // a source that does not exist
	Exits    json.RawMessage // an instance that ends by itself at once, with a status that is not 0
	Talks    json.RawMessage // an instance that writes "out 1" to "out 5" to stdout, "err 1" to stderr, and runs on
	Ports    []string        // names of the ports that instances listen on
	Mounts   bool            // check mounts too

	// Traffic.
	DataPlane bool // send requests through the routes

	// Metrics.
	Query   string // has data
	Empty   string // a query without data
	Invalid string // a query that the backend refuses
	At      time.Time
	Window  time.Duration // default a minute

	Only         *regexp.Regexp       // names of the checks to run, besides process/starts; nil: all
	Rounds       int                  // how often a check interrupts a call, each time at another moment; 0: 5
	StartTimeout time.Duration        // until the binary must have begun to serve; default 10s
	Progress     func(sdktest.Result) // called after each check; may be nil
}

// Run verifies a binary. The error is about the verification itself; what is wrong with the driver is in
// the report.
func Run(ctx context.Context, binary string, o Options) (*Report, error) {
	path, err := filepath.Abs(binary)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("driver: %w", err)
	}
	dir, err := os.MkdirTemp("", "instar-verify-")
	if err != nil {
		return nil, fmt.Errorf("working directory: %w", err)
	}
	sockets, err := launch.TempDir("iv-")
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	v := &verifier{options: o, sockets: sockets, path: path, dir: dir, report: &Report{Binary: path, Began: time.Now().UTC()}}
	v.run(ctx)
	v.report.Took = time.Since(v.report.Began)
	return v.report, errors.Join(ctx.Err(), removeAll(dir), os.RemoveAll(sockets))
}

// verifier is one verification under way.
type verifier struct {
	options Options
	path    string
	dir     string // everything that the drivers write
	sockets string // where they listen: a short path
	report  *Report
}

func (v *verifier) run(ctx context.Context) {
	var d sdk.Description
	first := sdktest.Check{Name: "process/starts", Promise: "the driver starts and describes itself", Run: func(t sdktest.T) {
		p := v.launch(t, v.newTarget(t))
		var err error
		if d, err = p.driver(t, sdk.KindCompute).Describe(t.Context()); err != nil { // Describe is common to all kinds
			t.Fatalf("Describe: %v", err)
		}
	}}
	if !v.check(ctx, first) {
		return // nothing else can work
	}
	v.report.Driver, v.report.Version, v.report.Kind = d.Name, d.Version, d.Kind
	checks := v.processChecks(d)
	switch d.Kind {
	case sdk.KindCompute:
		checks = append(checks, sdktest.ComputeChecks(v.compute)...)
	case sdk.KindTraffic:
		checks = append(checks, sdktest.TrafficChecks(v.traffic)...)
	case sdk.KindMetrics:
		checks = append(checks, sdktest.MetricsChecks(v.metrics)...)
	default:
		checks = append(checks, sdktest.Check{Name: "describe/kind", Promise: "the kind is compute, traffic or metrics", Run: func(t sdktest.T) {
			t.Fatalf("kind is %q, want compute, traffic or metrics", d.Kind)
		}})
	}
	for _, c := range checks {
		if ctx.Err() != nil {
			return
		}
		if v.options.Only == nil || v.options.Only.MatchString(c.Name) {
			v.check(ctx, c)
		}
	}
}

// check runs one check and reports whether it passed.
func (v *verifier) check(ctx context.Context, c sdktest.Check) bool {
	r := sdktest.Record(ctx, c, checkLimit)
	v.report.Results = append(v.report.Results, r)
	if v.options.Progress != nil {
		v.options.Progress(r)
	}
	return r.Status == sdktest.Passed
}

// removeAll removes a tree also where a driver has made directories read-only.
func removeAll(dir string) error {
	if err := os.RemoveAll(dir); err == nil {
		return nil
	}
	err := filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err == nil && entry.IsDir() {
			return os.Chmod(path, 0o700) //nolint:gosec // a directory needs its search bit
		}
		return err
	})
	return errors.Join(err, os.RemoveAll(dir))
}
