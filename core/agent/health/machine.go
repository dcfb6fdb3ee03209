package health

import (
	"time"

	"github.com/instarhq/instar/core"
)

const (
	// firstRetry is the delay after the first failed probe of a starting instance; it doubles up to
	// the check's interval, so that an instance that starts fast is found out fast.
	firstRetry = 50 * time.Millisecond
	// minDelay keeps a probe from following another at once.
	minDelay = 10 * time.Millisecond
	// reasonEvery bounds how often a new reason alone changes the verdict.
	reasonEvery = 30 * time.Second
	// defaultFailures is how many consecutive failures make unhealthy if the check does not say.
	defaultFailures = 3
)

// Verdict is what the checks of an instance say of it.
type Verdict struct {
	Healthy bool
	Reason  string // the last failed check, in words; empty while healthy, and at first
}

// Machine is the state of one check: outcomes go in, a verdict and the time of the next probe come out.
type Machine struct {
	check    core.HealthCheck
	started  time.Time
	passing  time.Time // when the present run of passes began; zero: the last probe failed
	passed   bool      // at least once
	failures int       // in a row
	verdict  Verdict
	reasonAt time.Time
}

// NewMachine begins with the verdict that was reported last, so that a restart of the daemon makes no
// healthy instance unhealthy; a new instance begins with the zero Verdict.
func NewMachine(check core.HealthCheck, last Verdict, at time.Time) *Machine {
	if check.Failures <= 0 {
		check.Failures = defaultFailures
	}
	m := &Machine{check: check, started: at, verdict: last, passed: last.Healthy}
	if last.Healthy {
		m.verdict.Reason = ""
	}
	return m
}

// Verdict is the present verdict.
func (m *Machine) Verdict() Verdict { return m.verdict }

// Observe takes the outcome of a probe that ended at the given time, nil if it passed, and reports
// whether the verdict has changed.
func (m *Machine) Observe(at time.Time, failure error) bool {
	if failure == nil {
		return m.pass(at)
	}
	return m.fail(at, failure.Error())
}

func (m *Machine) pass(at time.Time) bool {
	m.failures, m.passed = 0, true
	if m.passing.IsZero() {
		m.passing = at
	}
	if m.verdict.Healthy || at.Sub(m.passing) < m.check.HealthyFor.Std() {
		return false
	}
	m.verdict = Verdict{Healthy: true}
	return true
}

func (m *Machine) fail(at time.Time, reason string) bool {
	m.failures++
	m.passing = time.Time{}
	if m.failures < m.check.Failures || (!m.passed && m.starting(at)) {
		return false
	}
	if m.verdict.Healthy || m.verdict.Reason == "" ||
		(m.verdict.Reason != reason && at.Sub(m.reasonAt) >= reasonEvery) {
		m.verdict, m.reasonAt = Verdict{Reason: reason}, at
		return true
	}
	return false
}

// starting reports whether the instance may still be on its way up: it never passed and has had less
// time than a running one gets before it counts as unhealthy. Failures then are no news.
func (m *Machine) starting(at time.Time) bool {
	return at.Sub(m.started) < time.Duration(m.check.Failures)*m.check.Interval.Std()
}

// Next is how long after a probe that ended at the given time the next one should begin.
func (m *Machine) Next(at time.Time) time.Duration {
	delay := m.check.Interval.Std()
	switch {
	case m.verdict.Healthy:
	case !m.passing.IsZero(): // probe just when healthy_for is over
		delay = min(delay, m.check.HealthyFor.Std()-at.Sub(m.passing))
	case !m.passed && m.failures > 0 && m.failures < 16:
		delay = min(delay, firstRetry<<(m.failures-1))
	}
	return max(delay, minDelay)
}
