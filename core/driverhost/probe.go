package driverhost

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/instarhq/instar/sdk"
)

// endNotice is how much later than its broken streams the end of a process may be noticed.
const endNotice = 500 * time.Millisecond

// probe keeps a Probe stream open for as long as the session lasts.
func (t *target) probe(s *session) {
	var pause backoff
	for s.ctx.Err() == nil {
		err := t.probeOnce(s, pause.reset)
		select {
		case <-s.ctx.Done():
			return
		case <-s.proc.Done():
			return // the supervision knows more about it
		case <-time.After(endNotice):
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
	late := fmt.Errorf("it did not answer Probe within %s", s.timing.probe)
	first := time.AfterFunc(s.timing.probe, func() { cancel(late) })
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
	ctx, cancel := context.WithTimeout(s.ctx, s.timing.ping)
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
