package driverhost

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/sdk"
)

// hangLimit is how many times in a row Configure may hang before the process is replaced.
const hangLimit = 3

// supervise keeps the target up until ctx ends, and then leaves its process running. It begins with the
// first configuration.
func (t *target) supervise(ctx context.Context) {
	var pause backoff
	var again <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			t.attempted(int(^uint(0)>>1), core.Errorf(core.CodeUnavailable, "%s: the daemon is shutting down", t.key))
			return
		case <-t.wake:
			pause.reset()
		case <-again:
		}
		sound, err := t.live(ctx)
		if ctx.Err() != nil {
			again = nil
			continue
		}
		var wait time.Duration // none after a sound life: a data plane that was killed is missed by its clients
		if sound {
			pause.reset()
		} else {
			wait = pause.next()
		}
		t.count(&t.failures)
		t.log.Error("driver is away", "error", sentence(err), "next_attempt", wait.Round(time.Millisecond))
		t.setStatus(func(s *core.Target) { s.Healthy, s.Reason = false, sentence(err) })
		again = time.After(wait)
	}
}

// live brings a process up and stays with it until it is gone or has to go. sound: it was up long enough
// for its past to be forgotten.
func (t *target) live(ctx context.Context) (sound bool, err error) {
	_, version := t.wanted()
	s, err := t.acquire(ctx)
	if err != nil {
		t.attempted(version, err)
		return false, err
	}
	s, err = t.stay(ctx, s)
	t.publish(nil)
	sound = !s.up.IsZero() && time.Since(s.up) > s.timing.sound
	if ctx.Err() != nil {
		s.leave()
		return sound, ctx.Err()
	}
	if stopErr := s.stop(); stopErr != nil {
		return sound, errors.Join(err, stopErr)
	}
	return sound, errors.Join(err, t.forget())
}

// stay configures the process and watches over it. It returns the session that it had in the end, which is
// another one after an upgrade, and why it gave it up.
func (t *target) stay(ctx context.Context, s *session) (*session, error) {
	var pause backoff
	var retry <-chan time.Time
	hangs := 0
	configure := func() error {
		retry = nil
		err := t.configure(ctx, s)
		if errors.Is(err, context.DeadlineExceeded) {
			hangs++
		} else {
			hangs = 0
		}
		if err != nil {
			retry = time.After(pause.next())
		}
		if hangs >= hangLimit {
			return err
		}
		return nil
	}
	if err := configure(); err != nil {
		return s, err
	}
	look := time.NewTicker(t.host.timing.look)
	defer look.Stop()
	var deaf time.Time
	for {
		var err error
		select {
		case <-ctx.Done():
			return s, ctx.Err()
		case <-s.proc.Done():
			return s, fmt.Errorf("its process %d ended: %s", s.proc.State().PID, s.proc.Exit())
		case <-t.wake:
			err = configure()
		case <-retry:
			err = configure()
		case <-look.C:
			if deaf = t.ping(s, deaf); !deaf.IsZero() && time.Since(deaf) > s.timing.deaf {
				err = fmt.Errorf("its process %d gave no sign of life for %s", s.proc.State().PID, s.timing.deaf)
				break
			}
			s = t.upgraded(ctx, s)
		}
		if err != nil {
			return s, err
		}
	}
}

// configure applies the wanted configuration to a process and, when that works for the first time, hands
// the process to the callers. A process that refuses stays as it is: what it was told before is still
// right for the traffic or the instances that it carries.
func (t *target) configure(ctx context.Context, s *session) error {
	config, version := t.wanted()
	err := s.configure(ctx, t.request(config))
	if err != nil {
		s.setTrouble("configure", sentence(err))
		t.setStatus(func(st *core.Target) { st.Version, st.Scope = s.desc.Version, core.Scope(s.desc.Scope) })
	} else {
		s.setTrouble("configure", "")
		if s.up.IsZero() {
			t.begin(s)
			t.host.group.Go(func() { t.endLost(ctx) })
		}
	}
	t.refreshAny(s)
	t.attempted(version, Error(err))
	return err
}

// begin makes a configured session the one that callers get.
func (t *target) begin(s *session) {
	s.up = time.Now()
	t.publish(s)
	t.host.notify() // its description may be news
	s.probes.Go(func() { t.probe(s) })
}

func (t *target) request(config []byte) sdk.ConfigureRequest {
	cfg := t.host.cfg
	return sdk.ConfigureRequest{
		Target: t.key.name, Node: cfg.Node, Cluster: cfg.Cluster, Generation: cfg.Generation,
		StateDir: t.stateDir(), Config: config,
	}
}

// publish changes which session callers get.
func (t *target) publish(s *session) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.current = s
	if s != nil {
		t.driver, t.driverUp = s.public, s.up
	}
}

// refresh publishes what a session knows, if it is the one that callers get.
func (t *target) refresh(s *session) {
	t.mu.Lock()
	current := t.current == s
	t.mu.Unlock()
	if current {
		t.refreshAny(s)
	}
}

func (t *target) refreshAny(s *session) {
	t.setStatus(func(st *core.Target) {
		// Read in here: two goroutines tell of one session, and what was read first must not be
		// written last. A target once stayed "not probed yet" that way.
		health := s.state()
		st.Version, st.Scope = s.desc.Version, core.Scope(s.desc.Scope)
		st.Healthy, st.Reason = health.Healthy, health.Reason
		st.Capacity = core.Resources{CPU: health.Capacity.CPU, Memory: health.Capacity.Memory}
	})
}
