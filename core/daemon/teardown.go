package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/driverhost"
)

// teardownGrace is what each instance gets between being asked to stop and being killed.
const teardownGrace = 10 * time.Second

// Torn is what a teardown has ended.
type Torn struct {
	Instances int
	Routes    int
	Targets   int
}

// Teardown ends all instances and routes that the drivers of a data directory have, and then the
// drivers. It asks the drivers alone, so it works on a directory whose store is broken, and refuses
// one that a daemon uses. What cannot be ended is in the error; the rest is ended all the same.
func Teardown(ctx context.Context, dataDir string, logger hclog.Logger) (Torn, error) {
	if _, err := os.Stat(dataDir); err != nil {
		return Torn{}, fmt.Errorf("data directory: %w", err)
	}
	dir, err := openDataDir(dataDir, false)
	if errors.Is(err, fs.ErrNotExist) {
		return Torn{}, nil // no daemon ever ran here
	}
	if err != nil {
		return Torn{}, err
	}
	defer func() { _ = dir.close() }() // nothing is written to it
	record, err := dir.readRecord()
	if errors.Is(err, fs.ErrNotExist) {
		return Torn{}, nil // no driver was ever started
	}
	if err != nil {
		return Torn{}, err
	}
	host, err := newHost(dir, record, false, nil, logger)
	if err != nil {
		return Torn{}, err
	}
	var t teardown
	var group sync.WaitGroup
	for _, target := range record.Targets {
		group.Go(func() { t.note(t.target(ctx, host, record, &target)) })
	}
	group.Wait()
	t.note(host.Teardown(ctx))
	return t.torn, errors.Join(t.errs...)
}

// teardown collects what several targets' ends bring about.
type teardown struct {
	mu   sync.Mutex
	torn Torn
	errs []error
}

func (t *teardown) note(err error) {
	if err == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.errs = append(t.errs, err)
}

func (t *teardown) count(add func(*Torn)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	add(&t.torn)
}

func (t *teardown) target(ctx context.Context, host *driverhost.Host, record *nodeRecord, target *targetRecord) error {
	err := host.Open(ctx, driverhost.TargetConfig{Kind: target.Kind, Driver: target.Driver, Name: target.Name, Config: target.Config})
	if err == nil {
		t.count(func(torn *Torn) { torn.Targets++ })
		switch target.Kind {
		case core.DriverCompute:
			err = t.instances(ctx, host, record, target)
		case core.DriverTraffic:
			err = t.routes(ctx, host, target)
		}
	}
	if err != nil {
		return fmt.Errorf("%s %s %s: %w", target.Kind, target.Driver, target.Name, err)
	}
	return nil
}

// instances ends every instance of the cluster at a target, whatever its generation.
func (t *teardown) instances(ctx context.Context, host *driverhost.Host, record *nodeRecord, target *targetRecord) error {
	driver, err := host.Compute(target.Driver, target.Name)
	if err != nil {
		return err
	}
	list, err := driver.List(ctx, record.Cluster)
	if err != nil {
		return err
	}
	var group sync.WaitGroup
	for _, inst := range list {
		group.Go(func() {
			if err := driver.Destroy(ctx, inst.ID, teardownGrace); err != nil {
				t.note(fmt.Errorf("instance %s: %w", inst.ID, err))
				return
			}
			t.count(func(torn *Torn) { torn.Instances++ })
		})
	}
	group.Wait()
	return nil
}

func (t *teardown) routes(ctx context.Context, host *driverhost.Host, target *targetRecord) error {
	driver, err := host.Traffic(target.Driver, target.Name)
	if err != nil {
		return err
	}
	ids, err := driver.List(ctx)
	if err != nil {
		return err
	}
	for _, id := range ids {
		seen, err := driver.Observe(ctx, id)
		if err == nil {
			err = driver.Remove(ctx, id, seen.Generation, 0)
		}
		if err != nil {
			t.note(fmt.Errorf("route %s: %w", id, err))
			continue
		}
		t.count(func(torn *Torn) { torn.Routes++ })
	}
	return nil
}
