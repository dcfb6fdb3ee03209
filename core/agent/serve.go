package agent

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/agent/health"
	"github.com/instarhq/instar/core/state"
	"github.com/instarhq/instar/sdk"
)

// serve watches over a running instance until it ends, drifts or is lost, or ctx ends.
func (l *life) serve(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	var checks sync.WaitGroup
	defer checks.Wait()
	defer cancel()
	checks.Go(func() { l.check(ctx) })
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.wake:
		}
		if l.judgeNews(ctx) {
			return
		}
	}
}

// check runs the health checks of the instance's revision.
func (l *life) check(ctx context.Context) {
	l.mu.Lock()
	inst, status := l.inst, l.status
	l.mu.Unlock()
	revision, ok := state.Revisions.Get(l.agent.cfg.State.View(), core.RevisionID(inst.Service, inst.Revision))
	if !ok {
		l.log.Error("the revision of an instance is not in the store; its health is not checked")
		return
	}
	health.Run(ctx, health.Subject{
		Checks: revision.Spec.Health, Addresses: status.Addresses,
		Last: health.Verdict{Healthy: status.Healthy, Reason: status.Unhealthy},
	}, l.judge)
}

// judgeNews reports what is new and says whether the instance has come to its end.
func (l *life) judgeNews(ctx context.Context) bool {
	l.mu.Lock()
	seen, missing, verdict := l.seen, l.missing, l.verdict
	l.seen, l.missing, l.verdict = nil, false, nil
	fingerprint := l.status.Fingerprint
	l.mu.Unlock()
	switch {
	case seen != nil && seen.State == sdk.StateExited:
		l.fail(ctx, core.InstanceFailed, core.Failure{Message: exitMessage(seen.Exit)})
		return true
	case seen != nil && seen.State == sdk.StateRunning && drifted(fingerprint, seen.Fingerprint):
		l.fail(ctx, core.InstanceFailed, core.Failure{Message: fmt.Sprintf(
			"drifted: its fingerprint is %s, it was made with %s; something outside instar has changed it",
			seen.Fingerprint, fingerprint)})
		return true
	case missing && l.confirmLost(ctx):
		l.fail(ctx, core.InstanceLost, core.Failure{Message: "the driver no longer knows the instance; something outside instar has removed it"})
		return true
	case verdict != nil:
		l.reportVerdict(*verdict)
	}
	return false
}

// confirmLost asks the driver once more: a list may have been older than the instance.
func (l *life) confirmLost(ctx context.Context) bool {
	driver, err := l.compute.driver()
	if err != nil {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	inst, err := driver.Inspect(ctx, l.id)
	if err == nil {
		l.see(inst)
		return false
	}
	return sdk.CodeOf(err) == sdk.CodeNotFound && ctx.Err() == nil
}

func (l *life) reportVerdict(v health.Verdict) {
	l.log.Debug("health changed", "healthy", v.Healthy, "reason", v.Reason)
	l.advance(l.phase(), func(s *core.InstanceStatus) {
		s.Healthy, s.Unhealthy, s.HealthySince = v.Healthy, v.Reason, time.Time{}
		if v.Healthy {
			s.HealthySince, s.Verified = s.Updated, true
		}
	})
}

// fail reports the end of the instance with the last lines that it wrote.
func (l *life) fail(ctx context.Context, phase core.InstancePhase, f core.Failure) {
	if ctx.Err() != nil {
		return // the daemon stops, or the instance is being destroyed: its end is no failure
	}
	f.Logs = l.lastLines(ctx)
	l.log.Info("instance ended", "phase", phase, "cause", f.Message)
	l.advance(phase, func(s *core.InstanceStatus) {
		s.Failure, s.Healthy, s.HealthySince = &f, false, time.Time{}
	})
}

func drifted(recorded, found string) bool { return recorded != "" && found != "" && recorded != found }
