package driverhost

import (
	"context"
	"errors"
	"path/filepath"
	"time"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/sdk"
)

// Observer is told of every call of a driver, for metrics. It has to return at once.
type Observer interface {
	// Called is told how a call has ended. method is the name of the sdk's method; code is empty if it worked;
	// took is 0 for streams, which last as long as somebody listens.
	Called(kind core.DriverKind, driver, target, method string, took time.Duration, code sdk.Code)
}

// observe tells the observer about a call. Calls that the caller gave up say nothing about the driver.
func (t *target) observe(ctx context.Context, method string, began time.Time, err error) {
	observer := t.host.cfg.Observer
	if observer == nil || ctx.Err() != nil || errors.Is(err, context.Canceled) {
		return
	}
	var took time.Duration
	if !began.IsZero() {
		took = time.Since(began)
	}
	var code sdk.Code
	if err != nil {
		code = sdk.CodeOf(err)
	}
	observer.Called(t.key.kind, t.key.driver, t.key.name, method, took, code)
}

func (t *target) count(counter *uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	*counter++
}

// TargetFigures are a target with what has become of its processes since the Host was made.
type TargetFigures struct {
	core.Target
	Launches uint64 // processes that were started; one that was found running is not among them
	Failures uint64 // how often it was away: a process ended, hung, or did not come up
	Log      string // file with the standard error of the process
}

// Figures gives all targets, sorted by kind, driver, name.
func (h *Host) Figures() []TargetFigures {
	h.mu.Lock()
	list := h.sorted()
	h.mu.Unlock()
	out := make([]TargetFigures, len(list))
	for i, t := range list {
		t.mu.Lock()
		out[i] = TargetFigures{Target: t.status, Launches: t.launches, Failures: t.failures, Log: filepath.Join(t.dir, "log")}
		t.mu.Unlock()
	}
	return out
}
