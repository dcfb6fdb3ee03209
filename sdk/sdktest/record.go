package sdktest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"
)

// Status is how a check ended.
type Status string

// The ends of a check.
const (
	Passed  Status = "pass"
	Failed  Status = "fail"
	Skipped Status = "skip" // the driver or the fixture cannot do what the check needs; Detail says what
)

// Result is the outcome of one check.
type Result struct {
	Name    string        `json:"name"`
	Promise string        `json:"promise,omitempty"` // what the contract wants
	Status  Status        `json:"status"`
	Detail  string        `json:"detail,omitempty"` // what the driver did, or why the check was not run
	Took    time.Duration `json:"took"`
}

// Record runs one check without the testing package. A check that does not end within limit has failed,
// and what it was busy with goes on behind our back.
func Record(ctx context.Context, c Check, limit time.Duration) Result {
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	r := &recorder{name: c.Name, ctx: ctx}
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.guard(func() { c.Run(r) })
		cancel()
		r.runCleanups()
	}()
	select {
	case <-done:
	case <-time.After(limit + patience):
		r.Errorf("the check did not end within %s", limit)
	}
	result := r.result(time.Since(began))
	result.Promise = c.Promise
	return result
}

// recorder is a T that keeps what it is told.
type recorder struct {
	name string
	ctx  context.Context

	mu       sync.Mutex
	failed   bool
	skipped  bool
	log      []string
	cleanups []func()
}

var _ T = (*recorder)(nil)

func (r *recorder) result(took time.Duration) Result {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := Result{Name: r.name, Status: Passed, Took: took}
	switch {
	case r.failed:
		out.Status = Failed
	case r.skipped:
		out.Status = Skipped
	}
	if out.Status != Passed {
		out.Detail = strings.Join(r.log, "\n")
	}
	return out
}

// guard runs f in a goroutine of its own, so that Fatalf and Skipf can end it, and turns a panic into a
// failure.
func (r *recorder) guard(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			if cause := recover(); cause != nil {
				r.Errorf("panic: %v\n%s", cause, debug.Stack())
			}
		}()
		f()
	}()
	<-done
}

func (r *recorder) runCleanups() {
	r.mu.Lock()
	cleanups := r.cleanups
	r.cleanups = nil
	r.mu.Unlock()
	for _, f := range slices.Backward(cleanups) {
		r.guard(f)
	}
}

func (r *recorder) note(text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.log = append(r.log, text)
}

// Name implements T.
func (r *recorder) Name() string { return r.name }

// Helper implements T.
func (r *recorder) Helper() {}

// Logf implements T.
func (r *recorder) Logf(format string, args ...any) { r.note(fmt.Sprintf(format, args...)) }

// Errorf implements T.
func (r *recorder) Errorf(format string, args ...any) {
	r.note(fmt.Sprintf(format, args...))
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failed = true
}

// Fatalf implements T.
func (r *recorder) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	runtime.Goexit()
}

// Skipf implements T.
func (r *recorder) Skipf(format string, args ...any) {
	r.note(fmt.Sprintf(format, args...))
	r.mu.Lock()
	r.skipped = true
	r.mu.Unlock()
	runtime.Goexit()
}

// Failed implements T.
func (r *recorder) Failed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.failed
}

// Context implements T.
func (r *recorder) Context() context.Context { return r.ctx }

// Cleanup implements T.
func (r *recorder) Cleanup(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cleanups = append(r.cleanups, f)
}

// TempDir implements T.
func (r *recorder) TempDir() string {
	dir, err := os.MkdirTemp("", "instar-check-")
	if err != nil {
		r.Fatalf("temporary directory: %v", err)
	}
	r.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil && !errors.Is(err, os.ErrNotExist) {
			r.Errorf("temporary directory: %v", err)
		}
	})
	return dir
}
