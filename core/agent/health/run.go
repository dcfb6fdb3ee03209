package health

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/instarhq/instar/core"
)

// RunningFor is how long an instance without declared checks runs before it counts as healthy.
const RunningFor = 5 * time.Second

// Subject is the instance that Run checks.
type Subject struct {
	Checks    []core.HealthCheck
	Addresses map[string]string // port name → host:port
	Last      Verdict           // the verdict that was reported before a restart, or zero
}

// Run performs the checks of an instance until ctx ends. It calls changed with every new verdict, one
// call at a time. The instance is healthy when all checks are.
func Run(ctx context.Context, subject Subject, changed func(Verdict)) {
	if len(subject.Checks) == 0 {
		runUnchecked(ctx, subject.Last, changed)
		return
	}
	if len(subject.Checks) == 1 { // mostly; a goroutine less for each of ten thousand instances
		runCheck(ctx, subject.Checks[0], subject, changed)
		return
	}
	j := newJury(subject, changed)
	var wg sync.WaitGroup
	for i, check := range subject.Checks {
		wg.Go(func() { runCheck(ctx, check, subject, func(v Verdict) { j.say(i, v) }) })
	}
	wg.Wait()
}

func runUnchecked(ctx context.Context, last Verdict, changed func(Verdict)) {
	if last.Healthy {
		return
	}
	select {
	case <-time.After(RunningFor):
		changed(Verdict{Healthy: true})
	case <-ctx.Done():
	}
}

func runCheck(ctx context.Context, check core.HealthCheck, subject Subject, changed func(Verdict)) {
	probe, err := NewProber(check, subject.Addresses)
	if err != nil {
		changed(Verdict{Reason: err.Error()})
		return
	}
	loop(ctx, NewMachine(check, subject.Last, time.Now()), probe, changed)
}

// loop probes until ctx ends. A healthy instance's first probe after a restart comes at a random point
// of the interval, so that the probes of many instances do not come at once.
func loop(ctx context.Context, m *Machine, probe Prober, changed func(Verdict)) {
	var delay time.Duration
	if m.Verdict().Healthy {
		delay = rand.N(max(m.check.Interval.Std(), minDelay))
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		err := probe(ctx)
		if ctx.Err() != nil {
			return // the outcome says nothing of the instance
		}
		now := time.Now()
		if m.Observe(now, err) {
			changed(m.Verdict())
		}
		delay := m.Next(now)
		if m.Verdict().Healthy {
			delay = shared(now.Sub(epoch), delay)
		}
		timer.Reset(delay)
	}
}

// epoch is where the beats begin that probes of healthy instances fall on.
var epoch = time.Now()

// shared moves a probe to the nearest beat: there are four in an interval, at most one in 250 ms. What
// costs in a daemon at rest is not the probe but waking up for it, and so ten instances wake it four
// times a second instead of ten. The first probe of each is at a random time, which spreads them.
func shared(since, delay time.Duration) time.Duration {
	beat := min(delay/4, 250*time.Millisecond)
	if beat < minDelay {
		return delay
	}
	return max((since+delay).Round(beat)-since, minDelay)
}

// jury joins the verdicts of several checks into one.
type jury struct {
	changed func(Verdict)

	mu       sync.Mutex
	verdicts []Verdict
	last     Verdict
}

func newJury(subject Subject, changed func(Verdict)) *jury {
	j := &jury{changed: changed, last: subject.Last, verdicts: make([]Verdict, len(subject.Checks))}
	for i := range j.verdicts {
		j.verdicts[i] = subject.Last
	}
	return j
}

func (j *jury) say(i int, v Verdict) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.verdicts[i] = v
	joined := Verdict{Healthy: true}
	for _, v := range j.verdicts {
		if v.Healthy {
			continue
		}
		joined.Healthy = false
		if joined.Reason == "" {
			joined.Reason = v.Reason
		}
	}
	if joined != j.last {
		j.last = joined
		j.changed(joined)
	}
}
