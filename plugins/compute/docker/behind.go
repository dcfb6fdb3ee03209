package docker

import "context"

// behind runs the work of a call. Who ends the call waits neither for an engine that is slow nor for a disk: the work
// then goes on behind, until it has tidied up, which has a limit (afterwards). It keeps the instance's lock for that long,
// and close waits for it. The caller is one of the busy.
func behind[T any](ctx context.Context, t *target, work func() (T, error)) (T, error) {
	type outcome struct {
		value T
		err   error
	}
	over := make(chan outcome, 1)
	t.busy.Go(func() {
		value, err := work()
		over <- outcome{value, err}
	})
	select {
	case o := <-over:
		return o.value, o.err
	case <-ctx.Done():
		var none T
		return none, context.Cause(ctx)
	}
}
