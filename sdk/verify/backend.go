package verify

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/instarhq/instar/sdk"
)

// backendLimit is what one act on the backend may take, unless Backend.Limit says otherwise.
const backendLimit = time.Minute

// Backend is what checks can do to the backend behind the driver's back. Each function is given what the driver of the
// check was configured with: its cluster tells the instances of one check from those of another. All are optional;
// checks that need one are skipped without. Commands makes them of shell commands.
//
// Before the first check each but Change is tried once, so that a mistake in it is not taken for one of the driver's.
type Backend struct {
	// Stop takes the backend away: nothing of it answers until Start, which returns when it answers again. What runs
	// there may go on or end. The backend is there when the verification begins, and when it ends.
	Stop, Start func(context.Context, sdk.ConfigureRequest) error
	// Slow makes every answer of the backend come that much later; 0: as before.
	Slow func(context.Context, sdk.ConfigureRequest, time.Duration) error
	// Holds is what the backend has of the cluster, read past the driver: one entry for each instance.
	Holds func(context.Context, sdk.ConfigureRequest) ([]string, error)
	// Change changes the running instance with an id by hand, so that it is not any more what it was created from.
	Change func(ctx context.Context, req sdk.ConfigureRequest, id string) error
	// Limit is what each of them may take; 0: a minute.
	Limit time.Duration
}

// outside acts on the backend, and remembers what has to be undone.
type outside struct {
	backend Backend

	mu   sync.Mutex
	down *sdk.ConfigureRequest // for which target the backend was stopped and not started again; nil: it is there
	slow *sdk.ConfigureRequest // likewise
}

// act calls one of the backend's functions, within the limit.
func (o *outside) act(ctx context.Context, f func(context.Context) error) error {
	limit := o.backend.Limit
	if limit == 0 {
		limit = backendLimit
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return f(ctx)
}

// stop takes the backend away.
func (o *outside) stop(ctx context.Context, req sdk.ConfigureRequest) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.down = &req // also if the attempt fails: who knows how far it came
	return o.act(ctx, func(ctx context.Context) error { return o.backend.Stop(ctx, req) })
}

// start gives the backend back, whatever became of the caller.
func (o *outside) start(ctx context.Context, req sdk.ConfigureRequest) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	err := o.act(context.WithoutCancel(ctx), func(ctx context.Context) error { return o.backend.Start(ctx, req) })
	if err == nil {
		o.down = nil
	}
	return err
}

// delay makes the backend slow, or as fast as before: that, whatever became of the caller.
func (o *outside) delay(ctx context.Context, req sdk.ConfigureRequest, by time.Duration) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.slow = &req
	if by == 0 {
		ctx = context.WithoutCancel(ctx)
	}
	err := o.act(ctx, func(ctx context.Context) error { return o.backend.Slow(ctx, req, by) })
	if err == nil && by == 0 {
		o.slow = nil
	}
	return err
}

// holds reads what the backend has.
func (o *outside) holds(ctx context.Context, req sdk.ConfigureRequest) (list []string, err error) {
	err = o.act(ctx, func(ctx context.Context) error {
		list, err = o.backend.Holds(ctx, req)
		return err
	})
	return list, err
}

// change changes an instance by hand.
func (o *outside) change(ctx context.Context, req sdk.ConfigureRequest, id string) error {
	return o.act(ctx, func(ctx context.Context) error { return o.backend.Change(ctx, req, id) })
}

// restore undoes what a check has left behind.
func (o *outside) restore(ctx context.Context) error {
	o.mu.Lock()
	down, slow := o.down, o.slow
	o.mu.Unlock()
	var errs []error
	if slow != nil {
		errs = append(errs, o.delay(ctx, *slow, 0))
	}
	if down != nil {
		errs = append(errs, o.start(ctx, *down))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("the backend is not as it was: %w", err)
	}
	return nil
}

// try does everything once that can be done without an instance, for a target that nothing was made on.
func (o *outside) try(ctx context.Context, req sdk.ConfigureRequest) error {
	if o.backend.Slow != nil {
		if err := o.delay(ctx, req, 0); err != nil {
			return err
		}
	}
	if o.backend.Holds != nil {
		list, err := o.holds(ctx, req)
		if err != nil {
			return err
		}
		if len(list) > 0 {
			return fmt.Errorf("-holds: there are %q for a cluster that nothing was created for; it has to give what is of cluster %s only", list, req.Cluster)
		}
	}
	if o.backend.Stop == nil {
		return nil
	}
	return errors.Join(o.stop(ctx, req), o.start(ctx, req))
}
