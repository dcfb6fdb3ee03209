package driverhost

import (
	"context"
	"errors"
	"time"

	"github.com/instarhq/instar/sdk"
)

// Deadlines of calls, for callers that set none or a longer one. They end a hung driver's calls and nothing
// else, so they are far beyond what the work takes.
const (
	quickCall = 30 * time.Second // reads, and writes that a data plane does at once
	workCall  = 5 * time.Minute  // creating an instance
	bulkCall  = time.Hour        // moving an artifact
)

// enter gives a caller the current session, which then cannot go away in an upgrade before leave.
func (t *target) enter() (*session, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.current == nil {
		return nil, sdk.Unavailable(time.Second, "%s is not up: %s", t.key, t.status.Reason)
	}
	t.current.calls.Add(1)
	return t.current, nil
}

// call runs one call with a deadline on the current process.
func call[D sdk.Driver, R any](
	ctx context.Context, t *target, method string, limit time.Duration, do func(context.Context, D) (R, error),
) (result R, err error) {
	began := time.Now()
	defer func() { t.observe(ctx, method, began, err) }()
	s, err := t.enter()
	if err != nil {
		return result, err
	}
	defer s.calls.Done()
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	result, err = do(limited, s.driver.(D))
	return result, t.explain(ctx, s, err, limit)
}

// run is call for calls without a result.
func run[D sdk.Driver](ctx context.Context, t *target, method string, limit time.Duration, do func(context.Context, D) error) error {
	_, err := call(ctx, t, method, limit, func(ctx context.Context, d D) (struct{}, error) { return struct{}{}, do(ctx, d) })
	return err
}

// stream runs a call without a deadline that ends with the session: an upgrade does not wait for streams.
func stream[D sdk.Driver](ctx context.Context, t *target, method string, do func(context.Context, D) error) (err error) {
	defer func() { t.observe(ctx, method, time.Time{}, err) }()
	s, err := t.enter()
	if err != nil {
		return err
	}
	defer s.calls.Done()
	both, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)()
	err = do(both, s.driver.(D))
	if ctx.Err() == nil && s.ctx.Err() != nil {
		return sdk.Unavailable(0, "%s: its process is being replaced", t.key)
	}
	return t.explain(ctx, s, err, 0)
}

// explain makes an error that is about the process, and not the driver's own, say so.
func (t *target) explain(ctx context.Context, s *session, err error, limit time.Duration) error {
	switch {
	case err == nil, ctx.Err() != nil:
		return err
	case errors.Is(err, context.DeadlineExceeded):
		return sdk.Unavailable(0, "%s did not answer within %s", t.key, limit)
	case errors.Is(err, context.Canceled):
		return sdk.Unavailable(0, "%s: the call was cut off", t.key)
	case sdk.CodeOf(err) != sdk.CodeUnavailable:
		return err
	}
	select {
	case <-s.proc.Done():
		return sdk.Unavailable(time.Second, "%s: its process ended during the call: %s", t.key, s.proc.Exit())
	default:
		return err
	}
}
