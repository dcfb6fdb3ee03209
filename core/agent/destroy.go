package agent

import (
	"context"
	"fmt"
	"time"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/state"
)

const (
	defaultGrace = 10 * time.Second
	// troubleAfter is how long an instance may resist its end before its status says so.
	troubleAfter = 10 * time.Second
)

// destroy ends the instance, for as long as it takes. Asking for one that was never made is no error,
// so nobody needs to know how far a crashed daemon had come.
func (l *life) destroy(ctx context.Context) {
	began := time.Now()
	retry := backoff{first: 500 * time.Millisecond, last: 30 * time.Second}
	for {
		err := l.destroyOnce(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			l.advance(core.InstanceGone, nil)
			l.agent.artifactsSettled()
			return
		}
		l.log.Warn("cannot destroy the instance, trying again", "error", err)
		if time.Since(began) > troubleAfter {
			l.advance(core.InstanceDestroying, func(s *core.InstanceStatus) {
				s.Failure = &core.Failure{Message: fmt.Sprintf("cannot be destroyed, trying again: %v", err)}
			})
		}
		if !retry.wait(ctx, err) {
			return
		}
	}
}

func (l *life) destroyOnce(ctx context.Context) error {
	select {
	case l.compute.destroys <- struct{}{}:
		defer func() { <-l.compute.destroys }()
	case <-ctx.Done():
		return ctx.Err()
	}
	driver, err := l.compute.driver()
	if err != nil {
		return err
	}
	defer l.slowly(core.InstanceDestroying)() // the wait for a slot is not the driver's
	return driver.Destroy(ctx, l.id, l.grace())
}

func (l *life) grace() time.Duration {
	inst := l.instance()
	revision, ok := state.Revisions.Get(l.agent.cfg.State.View(), core.RevisionID(inst.Service, inst.Revision))
	if !ok {
		return defaultGrace
	}
	return revision.Spec.Grace.Std()
}
