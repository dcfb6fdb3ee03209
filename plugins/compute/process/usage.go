package process

import (
	"context"
	"errors"
	"io/fs"
	"time"

	"github.com/instarhq/instar/plugins/compute/process/procfs"
	"github.com/instarhq/instar/sdk"
)

// Bounds of the interval of samples.
const (
	minInterval     = 100 * time.Millisecond
	defaultInterval = 10 * time.Second
)

// Usage implements sdk.Compute.
func (d *Driver) Usage(ctx context.Context, interval time.Duration, report func([]sdk.Usage) error) error {
	t, err := d.bound()
	if err != nil {
		return err
	}
	if interval <= 0 {
		interval = defaultInterval
	}
	ticker := time.NewTicker(max(interval, minInterval))
	defer ticker.Stop()
	for {
		samples, err := t.sample()
		if err != nil {
			return err
		}
		if err := report(samples); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-t.life.Done():
			return context.Cause(t.life)
		case <-ticker.C:
		}
	}
}

// sample measures every running instance.
func (t *target) sample() ([]sdk.Usage, error) {
	var samples []sdk.Usage
	var ungrouped []*instance
	for _, i := range t.all() {
		if !i.running() {
			continue
		}
		if !i.group.Exists() {
			ungrouped = append(ungrouped, i)
			continue
		}
		sample, err := i.measure()
		if errors.Is(err, fs.ErrNotExist) {
			continue // ended meanwhile
		}
		if err != nil {
			return nil, err
		}
		samples = append(samples, sample)
	}
	more, err := measureByTable(ungrouped)
	return append(samples, more...), err
}

// measure asks the control group, and where that does not count memory, its processes.
func (i *instance) measure() (sdk.Usage, error) {
	cpu, err := i.group.CPU()
	if err != nil {
		return sdk.Usage{}, err
	}
	sample := sdk.Usage{ID: i.rec.ID, At: time.Now().UTC(), CPUNanos: uint64(cpu)}
	if sample.Memory, err = i.group.Memory(); err == nil {
		return sample, nil
	}
	members, err := i.group.Processes()
	if err != nil {
		return sdk.Usage{}, err
	}
	for _, pid := range members {
		stat, err := procfs.ReadStat(pid)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return sdk.Usage{}, err
		}
		sample.Memory += stat.RSS
	}
	return sample, nil
}

// measureByTable reads the process table once for all instances. Processes that have left their
// instance's session are not counted; pages that processes share are counted for each.
func measureByTable(instances []*instance) ([]sdk.Usage, error) {
	if len(instances) == 0 {
		return nil, nil
	}
	bySession := map[int]*sdk.Usage{}
	samples := make([]sdk.Usage, len(instances))
	for n, i := range instances {
		samples[n] = sdk.Usage{ID: i.rec.ID, At: time.Now().UTC()}
		i.mu.Lock()
		bySession[i.id.PID] = &samples[n]
		i.mu.Unlock()
	}
	err := procfs.All(func(s procfs.Stat) {
		if sample := bySession[s.Session]; sample != nil {
			sample.CPUNanos += uint64(s.CPU)
			sample.Memory += s.RSS
		}
	})
	return samples, err
}
