package agent

import (
	"context"
	"time"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/state"
	"github.com/instarhq/instar/sdk"
)

const (
	// freshFor is how old the view may be when an instance is created. A node that was away must not make
	// what has been replaced meanwhile, and its replica catches up record by record.
	freshFor = time.Second
	// freshWait bounds one attempt to find out.
	freshWait = 10 * time.Second
)

// stillWanted returns nil if an instance is wanted on this node, by a view that is not older than freshFor.
func (l *life) stillWanted(ctx context.Context) error {
	if err := l.agent.fresh(ctx); err != nil {
		return err
	}
	inst, ok := state.Instances.Get(l.agent.cfg.State.View(), l.id)
	if !ok || inst.Node != l.agent.cfg.Node || inst.Desired != core.DesiredRun {
		return errNotWanted
	}
	return nil
}

var errNotWanted = sdk.Conflict("the instance is not wanted here any more")

// fresh returns once the view is known to be current.
func (a *Agent) fresh(ctx context.Context) error {
	a.freshSync.Lock() // the others wait for one who asks
	defer a.freshSync.Unlock()
	began := time.Now()
	if began.Sub(a.freshAt) < freshFor {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, freshWait)
	defer cancel()
	if err := a.cfg.Current(ctx); err != nil {
		return &staleError{err}
	}
	a.freshAt = began
	return nil
}

// staleError says that nobody could tell whether the view is current: no fault of the instance's.
type staleError struct{ cause error }

func (e *staleError) Error() string { return "what is wanted cannot be confirmed: " + e.cause.Error() }
func (e *staleError) Unwrap() error { return e.cause }

// Settled reports whether the agent has found out what has become of this node's instances since it
// started, and the store knows it. A target whose driver does not answer has nothing to tell.
func (a *Agent) Settled() bool {
	a.mu.Lock()
	begun := a.begun
	var open []*compute
	for _, c := range a.computes {
		if compared := c.compared.Load(); compared == 0 || time.Since(time.Unix(0, compared)) < settleAfter {
			open = append(open, c)
		}
	}
	a.mu.Unlock()
	if !begun || !a.reporter.Idle() {
		return false
	}
	for _, c := range open {
		if c.acting() != nil && a.healthy(c.key) {
			return false
		}
	}
	return true
}

// settleAfter is how long after a comparison its consequences count as reported.
const settleAfter = 500 * time.Millisecond

// healthy reports whether a compute target's driver answers.
func (a *Agent) healthy(key targetKey) bool {
	for _, t := range a.cfg.Host.Targets() {
		if t.Kind == core.DriverCompute && t.Driver == key.driver && t.Name == key.name {
			return t.Healthy
		}
	}
	return false
}

// begin notes that every instance is looked after, and compares them with what the drivers have.
func (a *Agent) startComparing() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.begun = true
	for _, c := range a.computes {
		c.compareSoon()
	}
}

// beganComparing reports whether a comparison from now on sees every instance.
func (a *Agent) beganComparing() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.begun
}
