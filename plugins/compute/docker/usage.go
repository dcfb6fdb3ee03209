package docker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"github.com/instarhq/instar/sdk"
)

// Bounds of the interval of samples.
const (
	minInterval     = 100 * time.Millisecond
	defaultInterval = 10 * time.Second
)

// Usage implements sdk.Compute. While the engine is away there are no samples.
func (d *Driver) Usage(ctx context.Context, interval time.Duration, report func([]sdk.Usage) error) error {
	t, ctx, done, err := d.begin(ctx)
	if err != nil {
		return err
	}
	defer done()
	if interval <= 0 {
		interval = defaultInterval
	}
	ticker := time.NewTicker(max(interval, minInterval))
	defer ticker.Stop()
	for {
		samples, err := t.sample(ctx)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case sdk.CodeOf(err) == sdk.CodeUnavailable:
		case err != nil:
			return err
		default:
			if err := report(samples); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-ticker.C:
		}
	}
}

// sample measures every running instance.
func (t *target) sample(ctx context.Context) ([]sdk.Usage, error) {
	var samples []sdk.Usage
	for _, cluster := range t.clusters() {
		running, err := t.running(ctx, cluster)
		if err != nil {
			return nil, err
		}
		measured := make([]*sdk.Usage, len(running))
		failed := make([]error, len(running))
		slots := make(chan struct{}, readers)
		var group sync.WaitGroup
		for n, c := range running {
			slots <- struct{}{}
			group.Go(func() {
				defer func() { <-slots }()
				measured[n], failed[n] = t.measure(ctx, c)
			})
		}
		group.Wait()
		if errors.Join(failed...) != nil {
			return nil, firstTyped(failed)
		}
		for _, m := range measured {
			if m != nil {
				samples = append(samples, *m)
			}
		}
	}
	return samples, nil
}

// running lists the containers of a cluster that run.
func (t *target) running(ctx context.Context, cluster string) ([]container.Summary, error) {
	var running []container.Summary
	err := t.engine.ask(ctx, askFor, "list running containers", func(ctx context.Context, api *client.Client) error {
		filters := client.Filters{}.Add("label", labelCluster+"="+cluster)
		list, err := api.ContainerList(ctx, client.ContainerListOptions{Filters: filters})
		for _, c := range list.Items {
			if len(c.Names) > 0 && t.isOurs(c.ID, c.Names[0], c.Labels) {
				running = append(running, c)
			}
		}
		return err
	})
	return running, err
}

// measure returns nil for a container that has ended meanwhile.
func (t *target) measure(ctx context.Context, c container.Summary) (*sdk.Usage, error) {
	var stats container.StatsResponse
	err := t.engine.ask(ctx, askFor, "measure container "+c.Names[0], func(ctx context.Context, api *client.Client) error {
		result, err := api.ContainerStats(ctx, c.ID, client.ContainerStatsOptions{})
		if err != nil {
			return err
		}
		defer func() { _ = result.Body.Close() }() // read
		if err := json.NewDecoder(result.Body).Decode(&stats); err != nil {
			return fmt.Errorf("decode: %w", err)
		}
		return nil
	})
	switch sdk.CodeOf(err) {
	case "":
	case sdk.CodeNotFound, sdk.CodeConflict:
		return nil, nil //nolint:nilnil // it has ended, which is no error here
	default:
		return nil, err
	}
	if stats.Read.Year() < 1971 {
		return nil, nil //nolint:nilnil // what an engine says of a container that does not run
	}
	memory := stats.MemoryStats.Usage
	// The kernel's cache of files is no use of the instance's: it goes when room is needed. The names are those
	// of cgroup v1 and v2.
	for _, cache := range []string{"total_inactive_file", "inactive_file"} {
		if n, ok := stats.MemoryStats.Stats[cache]; ok && n < memory {
			memory -= n
			break
		}
	}
	return &sdk.Usage{
		ID: c.Labels[labelInstance], At: stats.Read.UTC(), CPUNanos: stats.CPUStats.CPUUsage.TotalUsage, Memory: int64(memory), //nolint:gosec // no machine has 2^63 bytes
	}, nil
}
