package driverhost

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/instarhq/instar/core"
)

// upgradePlan remembers what became of a new binary, so that a bad one is not tried every few seconds.
type upgradePlan struct {
	digest core.Digest // the binary that could not take over
	pause  backoff
	next   time.Time // when to try it again
}

// upgraded replaces the process if the binary on disk is another one than it was launched from, and returns
// the session that is current afterwards. A binary that may not or cannot run leaves the old process alone.
func (t *target) upgraded(ctx context.Context, s *session) *session {
	img, err := t.host.locate(t.key.kind, t.key.driver)
	if err != nil || img.digest == s.digest || s.up.IsZero() {
		return s // a binary that is away just now is being installed, or missed at the next launch
	}
	if t.upgrade.digest == img.digest && time.Now().Before(t.upgrade.next) {
		return s
	}
	if t.upgrade.digest != img.digest {
		t.upgrade = upgradePlan{digest: img.digest}
	}
	next, err := t.replace(ctx, s, img)
	if err != nil {
		wait := t.upgrade.pause.next()
		t.upgrade.next = time.Now().Add(wait)
		t.log.Error("the driver's binary has changed; the old process stays", "error", sentence(err), "next_attempt", wait)
		return s
	}
	t.upgrade = upgradePlan{}
	return next
}

// replace brings a new process up beside the old one, lets it take over, and ends the old one. The record
// names both in between, so that a daemon that dies here finds the one that has taken over.
func (t *target) replace(ctx context.Context, old *session, img image) (*session, error) {
	if err := t.host.lock.Check(img.path, img.digest); err != nil {
		return nil, err
	}
	next, err := t.launchImage(ctx, img)
	if err != nil {
		return nil, err
	}
	config, version := t.wanted()
	err = t.writeRecord(old.launched(), next.launched())
	if err == nil {
		err = next.configure(ctx, t.request(config))
	}
	if err != nil {
		err = fmt.Errorf("the new process: %w", err)
		return nil, errors.Join(err, next.stop(), t.writeRecord(old.launched(), nil), os.RemoveAll(next.proc.State().Dir))
	}
	t.attempted(version, nil)
	t.begin(next)
	t.refresh(next)
	t.retire(old)
	t.log.Info("upgraded", "from", old.desc.Version, "to", next.desc.Version, "pid", next.proc.State().PID)
	if err := t.writeRecord(next.launched(), nil); err != nil {
		t.log.Error("after an upgrade", "error", err) // both are named still: an attach takes the new one
	}
	if err := t.sweep(next.proc.State().Dir); err != nil {
		t.log.Error("clearing what the old process left", "error", err)
	}
	return next, nil
}

// retire ends a process that gets no new calls any more: its streams at once, as the new process has them
// too, and then the process, after the calls under way.
func (t *target) retire(old *session) {
	old.cancel()
	idle := make(chan struct{})
	go func() {
		old.calls.Wait()
		close(idle)
	}()
	select {
	case <-idle:
	case <-time.After(old.timing.drain):
		t.log.Warn("calls to the old process did not end in time", "timeout", old.timing.drain)
	}
	if err := old.stop(); err != nil {
		t.log.Error("ending the old process", "error", err)
	}
}
