package driverhost

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/instarhq/instar/sdk"
)

// probe keeps a Probe stream open for as long as the session lasts.
func (t *target) probe(s *session) {
	var pause backoff
	for s.ctx.Err() == nil {
		err := t.probeOnce(s, pause.reset)
		if s.ctx.Err() != nil {
			return
		}
		s.setTrouble("probe", err.Error())
		t.refresh(s)
		select {
		case <-s.ctx.Done():
		case <-time.After(pause.next()):
		}
	}
}

// probeOnce runs one stream to its end, which is always an error. A stream that gives no first answer in
// time is given up.
func (t *target) probeOnce(s *session, answered func()) error {
	ctx, cancel := context.WithCancelCause(s.ctx)
	defer cancel(nil)
	late := fmt.Errorf("it did not answer Probe within %s", probeTimeout)
	first := time.AfterFunc(probeTimeout, func() { cancel(late) })
	defer first.Stop()
	err := s.driver.Probe(ctx, func(h sdk.Health) error {
		first.Stop()
		answered()
		s.mu.Lock()
		s.health = h
		s.mu.Unlock()
		s.setTrouble("probe", "")
		t.refresh(s)
		return nil
	})
	switch {
	case errors.Is(context.Cause(ctx), late):
		return late
	case err == nil:
		return errors.New("it ended Probe by itself")
	}
	return fmt.Errorf("Probe: %w", err)
}

// ping asks for a sign of life and returns since when there has been none.
func (t *target) ping(s *session, deaf time.Time) time.Time {
	ctx, cancel := context.WithTimeout(s.ctx, pingTimeout)
	defer cancel()
	if err := s.proc.Ping(ctx); err != nil {
		if deaf.IsZero() {
			deaf = time.Now()
		}
		s.setTrouble("ping", "its process does not answer")
		t.refresh(s)
		return deaf
	}
	if !deaf.IsZero() {
		s.setTrouble("ping", "")
		t.refresh(s)
	}
	return time.Time{}
}
