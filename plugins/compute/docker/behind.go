package docker

import (
	"context"
	"fmt"
	"runtime/debug"
)

// behind runs the work of a call. Who ends the call waits neither for an engine that is slow nor for a disk: the work
// then goes on behind, until it has tidied up, which has a limit (afterwards). It keeps the instance's lock for that long,
// and close waits for it. The caller is one of the busy. A panic is the caller's, as if there were no goroutine.
func behind[T any](ctx context.Context, t *target, work func() (T, error)) (T, error) {
	type outcome struct {
		value    T
		err      error
		panicked any
	}
	over := make(chan outcome, 1)
	t.busy.Go(func() {
		var o outcome
		defer func() {
			if p := recover(); p != nil {
				o.panicked = fmt.Sprintf("%v\n%s", p, debug.Stack())
				t.logger.Error("a call has panicked", "panic", o.panicked)
			}
			over <- o
		}()
		o.value, o.err = work()
	})
	select {
	case o := <-over:
		if o.panicked != nil {
			panic(o.panicked)
		}
		return o.value, o.err
	case <-ctx.Done():
		var none T
		return none, context.Cause(ctx)
	}
}
