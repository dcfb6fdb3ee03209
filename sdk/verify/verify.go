// Package verify runs the conformance suites against a driver's binary, in whatever language it is
// written: it launches the binary as instard would, and asks nothing of it but the contract. It is what
// `instar driver verify` does, and fit for a driver's own CI.
package verify

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/instarhq/instar/sdk"
	"github.com/instarhq/instar/sdk/launch"
	"github.com/instarhq/instar/sdk/sdktest"
)

// checkLimit is what one check may take, unless a backend is given more patience.
const checkLimit = 5 * time.Minute

// Run verifies a binary. The error is about the verification itself; what is wrong with the driver is in
// the report. If the backend could not be put back to what it was, there is an error, and the report of the checks
// until then.
func Run(ctx context.Context, binary string, o Options) (*Report, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
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
	v := &verifier{
		options: o, outside: &outside{backend: o.Backend}, sockets: sockets, path: path, dir: dir,
		report: &Report{Binary: path, Began: time.Now().UTC()},
	}
	err = v.run(ctx)
	v.report.Took = time.Since(v.report.Began)
	return v.report, errors.Join(err, removeAll(dir), os.RemoveAll(sockets))
}

// verifier is one verification under way.
type verifier struct {
	options Options
	outside *outside
	path    string
	dir     string // everything that the drivers write
	sockets string // where they listen: a short path
	report  *Report
}

// run runs the checks. Its error is the backend's, or the context's.
func (v *verifier) run(ctx context.Context) error {
	target, err := v.makeTarget()
	if err == nil {
		err = v.outside.try(ctx, target.request)
	}
	if err != nil {
		return fmt.Errorf("before any check: %w", err)
	}
	var d sdk.Description
	first := sdktest.Check{Name: "process/starts", Promise: "the driver starts and describes itself", Run: func(t sdktest.T) {
		p := v.launch(t, v.newTarget(t))
		var err error
		if d, err = p.driver(t, sdk.KindCompute).Describe(t.Context()); err != nil { // Describe is common to all kinds
			t.Fatalf("Describe: %v", err)
		}
	}}
	if !v.check(ctx, first) {
		return ctx.Err() // nothing else can work
	}
	v.report.Driver, v.report.Version, v.report.Kind = d.Name, d.Version, d.Kind
	for _, c := range v.checks(d) {
		if v.options.Only != nil && !v.options.Only.MatchString(c.Name) {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		v.check(ctx, v.possible(d, c))
		if err := v.outside.restore(ctx); err != nil {
			return fmt.Errorf("after %s: %w", c.Name, err)
		}
	}
	return ctx.Err()
}

// checks are those of a driver's kind, after those of any process.
func (v *verifier) checks(d sdk.Description) []sdktest.Check {
	checks := v.processChecks(d)
	switch d.Kind {
	case sdk.KindCompute:
		return append(checks, sdktest.ComputeChecks(v.compute)...)
	case sdk.KindTraffic:
		return append(checks, sdktest.TrafficChecks(v.traffic)...)
	case sdk.KindMetrics:
		return append(checks, sdktest.MetricsChecks(v.metrics)...)
	}
	return append(checks, sdktest.Check{Name: "describe/kind", Promise: "the kind is compute, traffic or metrics", Run: func(t sdktest.T) {
		t.Fatalf("kind is %q, want compute, traffic or metrics", d.Kind)
	}})
}

// check runs one check and reports whether it passed.
func (v *verifier) check(ctx context.Context, c sdktest.Check) bool {
	r := sdktest.Record(ctx, c, v.options.limit())
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
