package docker

import (
	"context"
	"maps"
	"time"

	"github.com/moby/moby/client"

	"github.com/instarhq/instar/sdk"
)

const (
	// probeEvery is how often the engine is asked for a sign of life.
	probeEvery = 5 * time.Second
	// pingFor is how long it may take.
	pingFor = 3 * time.Second
)

// Probe implements sdk.Driver.
func (d *Driver) Probe(ctx context.Context, report func(sdk.Health) error) error {
	t, ctx, done, err := d.begin(ctx)
	if err != nil {
		return err
	}
	defer done()
	ticker := time.NewTicker(probeEvery)
	defer ticker.Stop()
	var last sdk.Health
	for first := true; ; first = false {
		link := t.link.state()
		now := t.health(ctx)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if first || !same(last, now) {
			if err := report(now); err != nil {
				return err
			}
			last = now
		}
		// After the answer, for which nobody is to wait.
		if now.Healthy && !t.said().known && t.learn(ctx) == nil {
			continue
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-link.changed:
		case <-ticker.C:
		}
	}
}

func same(a, b sdk.Health) bool {
	return a.Healthy == b.Healthy && a.Reason == b.Reason && a.Capacity == b.Capacity && maps.Equal(a.Attributes, b.Attributes)
}

// health asks the engine for a sign of life. What it said of itself before is worth showing also without one.
func (t *target) health(ctx context.Context) sdk.Health {
	err := t.ping(ctx, pingFor)
	a := t.said()
	h := sdk.Health{Healthy: err == nil, Capacity: a.capacity, Attributes: maps.Clone(a.attributes)}
	if h.Attributes == nil {
		h.Attributes = map[string]string{}
	}
	at := t.engine.at()
	h.Attributes["endpoint"], h.Attributes["address"] = at.url, at.address.String()
	if err != nil {
		h.Reason = err.Error()
		return h
	}
	t.link.nudge()
	return h
}

func (t *target) ping(ctx context.Context, limit time.Duration) error {
	return t.engine.ask(ctx, limit, "ping", func(ctx context.Context, api *client.Client) error {
		_, err := api.Ping(ctx, client.PingOptions{})
		return err
	})
}
