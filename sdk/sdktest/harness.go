package sdktest

import (
	"time"

	"github.com/instarhq/instar/sdk"
)

// Patience of the checks. A contract that says "within a second" is checked with a second of grace, for
// machines that are busy with something else.
const (
	soon     = 2 * time.Second  // after a cancellation, or a change of state
	patience = 30 * time.Second // for work that a backend has to do
)

// Harness is what a fixture can do beside the driver, and behind its back. All of it is optional: a check that
// needs what is not there is reported as skipped, and says what was missing.
type Harness struct {
	// Stop takes the backend away: nothing of it answers until Start, which returns when it answers again. What
	// runs there may go on or end.
	Stop, Start func(T)
	// Slow makes every answer of the backend come that much later; 0: as before.
	Slow func(T, time.Duration)
	// Log is everything that the driver's processes have logged so far.
	Log func(T) string
	// Footprint counts what the driver's process holds: open files, children.
	Footprint func(T) int

	// Rounds is how often a check interrupts a call, each time at another moment of it, the first at its beginning;
	// a single one in its middle. 0: 5.
	Rounds int
	// Patience is for work that the backend has to do; 0: 30 seconds. Soon is for what must not take any time;
	// 0: 2 seconds.
	Patience, Soon time.Duration
}

func (h *Harness) patience() time.Duration { return orElse(h.Patience, patience) }
func (h *Harness) soon() time.Duration     { return orElse(h.Soon, soon) }

func (h *Harness) rounds() int {
	if h.Rounds == 0 {
		return 5
	}
	return h.Rounds
}

// moment is when to interrupt a call that takes so long, in the nth round.
func (h *Harness) moment(n int, took time.Duration) time.Duration {
	if h.rounds() == 1 {
		return took / 2
	}
	return took * time.Duration(n) / time.Duration(h.rounds())
}

func orElse(d, otherwise time.Duration) time.Duration {
	if d == 0 {
		return otherwise
	}
	return d
}

// needsOutage skips a check if the harness cannot take the backend away.
func (h *Harness) needsOutage(t T) {
	t.Helper()
	if h.Stop == nil || h.Start == nil {
		t.Skipf("not run: the harness gives no Stop and Start of the backend")
	}
}

// outage takes the backend away. The function that it returns gives it back, once; it also runs at the end.
func (h *Harness) outage(t T, e *ending) (over func()) {
	t.Helper()
	h.needsOutage(t)
	down := true
	over = func() {
		if down {
			down = false
			h.Start(t)
		}
	}
	e.atEnd(over)
	h.Stop(t)
	return over
}

// commonFixture is what the checks of sdk.Driver need of a fixture of any kind.
type commonFixture struct {
	*Harness
	driver       sdk.Driver
	request      sdk.ConfigureRequest
	unconfigured func(T) sdk.Driver // nil: the harness has none
}

// fresh is the driver of a process that was not configured yet, on the same state.
func (f *commonFixture) fresh(t T) sdk.Driver {
	t.Helper()
	if f.unconfigured == nil {
		t.Skipf("not run: the fixture has no Unconfigured")
	}
	return f.unconfigured(t)
}
