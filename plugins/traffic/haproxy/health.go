package haproxy

import (
	"context"
	"errors"
	"maps"
	"strconv"
	"sync"

	"github.com/instarhq/instar/sdk"
)

// health is the outcome of the last look at HAProxy.
type health struct {
	mu      *sync.Mutex
	now     *sdk.Health
	changed *chan struct{} // closed and replaced when it changes
}

func newHealth() health {
	changed := make(chan struct{})
	return health{new(sync.Mutex), &sdk.Health{Reason: "HAProxy was not looked at yet"}, &changed}
}

func (h health) set(next sdk.Health) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.now.Healthy == next.Healthy && h.now.Reason == next.Reason && maps.Equal(h.now.Attributes, next.Attributes) {
		return
	}
	*h.now = next
	close(*h.changed)
	*h.changed = make(chan struct{})
}

func (h health) get() (sdk.Health, <-chan struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return *h.now, *h.changed
}

// noteHealth makes the outcome of something that was done with HAProxy the target's health, and returns it.
func (d *Driver) noteHealth(err error) error {
	var typed *sdk.Error
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) ||
		errors.As(err, &typed) && typed.Code != sdk.CodeUnavailable {
		return err // says nothing about HAProxy
	}
	state := d.store.state()
	h := sdk.Health{Healthy: err == nil, Attributes: map[string]string{"routes": strconv.Itoa(len(state.Routes))}}
	if state.Version != "" {
		h.Attributes["haproxy"] = state.Version
	}
	if err != nil {
		h.Reason = err.Error()
	}
	d.health.set(h)
	return err
}

// Probe implements sdk.Driver.
func (d *Driver) Probe(ctx context.Context, report func(sdk.Health) error) error {
	for {
		h, changed := d.health.get()
		if err := report(h); err != nil {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
