package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/driverhost"
	"github.com/instarhq/instar/core/driverhost/lockfile"
)

// firstAttempt is how long the start waits for the drivers' descriptions, and then for the targets to
// come up. Those that take longer are supervised and published like the others; a hung driver must not
// keep the API away.
const firstAttempt = 3 * time.Second

// How often the plugin directories are looked at again: soon if something was installed or removed, and now and then
// anyhow, for binaries that were written into or that did not answer.
const (
	rediscoverEvery = time.Minute
	lookEvery       = 2 * time.Second
)

// startDrivers looks for drivers and brings the targets up, re-attaching to processes that run.
func (d *Daemon) startDrivers(ctx context.Context) (err error) {
	record := nodeRecord{
		Node: d.cfg.Node, Cluster: d.store.ClusterID(), Generation: d.store.Generation(), PluginDirs: d.cfg.PluginDirs,
	}
	if d.host, err = newHost(d.dir, &record, d.cfg.AutoLock, d.telemetry, d.log); err != nil {
		return err
	}
	if err := d.trustBundled(); err != nil {
		return errors.Join(err, d.host.Close())
	}
	found := d.discover(ctx)
	if record.Targets, err = configure(d.cfg.Targets, found); err == nil {
		err = d.dir.writeRecord(&record) // before any process exists
	}
	if err != nil {
		return errors.Join(err, d.host.Close())
	}
	d.openTargets(ctx, record.Targets)
	d.background("drivers", d.keepDrivers)
	return nil
}

// discover finds and describes the drivers. A hung one must not keep the others away.
func (d *Daemon) discover(ctx context.Context) []core.Driver {
	ctx, cancel := context.WithTimeout(ctx, firstAttempt)
	defer cancel()
	found, problems := d.host.Discover(ctx)
	for _, p := range problems {
		d.log.Warn("a driver cannot be used", "path", p.Path, "error", p.Err)
	}
	return found
}

// keepDrivers ends the processes of targets that the configuration has no more, and then publishes
// drivers that are installed, replaced or repaired while the daemon runs. A binary is asked only if its
// file has changed, or did not answer.
func (d *Daemon) keepDrivers(ctx context.Context) error {
	if err := d.host.EndOthers(ctx); err != nil {
		d.log.Warn("cannot end a driver whose target is configured no more", "error", err)
	}
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	last, seen := time.Now(), d.installed()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		now := d.installed()
		if slices.EqualFunc(now, seen, time.Time.Equal) && time.Since(last) < rediscoverEvery {
			continue
		}
		last, seen = time.Now(), now
		if _, problems := d.host.Discover(ctx); len(problems) > 0 {
			d.log.Debug("some drivers cannot be used", "problems", len(problems), "path", problems[0].Path, "error", problems[0].Err)
		}
	}
}

// installed tells when the lock file and the plugin directories were changed; zero for one that is not there.
func (d *Daemon) installed() []time.Time {
	paths := append([]string{d.dir.file(lockFile)}, d.cfg.PluginDirs...)
	changed := make([]time.Time, len(paths))
	for n, path := range paths {
		if info, err := os.Stat(path); err == nil {
			changed[n] = info.ModTime()
		}
	}
	return changed
}

// trustBundled accepts the driver binaries beside instard's own as they are: they come with it, and
// change with it. Whoever can replace them can replace instard.
func (d *Daemon) trustBundled() error {
	if d.cfg.bundled == "" {
		return nil
	}
	binaries, err := filepath.Glob(filepath.Join(d.cfg.bundled, "instar-*-*"))
	if err != nil {
		return fmt.Errorf("look for bundled drivers: %w", err)
	}
	lock := lockfile.Open(d.dir.file(lockFile))
	for _, binary := range binaries {
		if d.shadowed(filepath.Base(binary)) {
			continue
		}
		if _, err := lock.Lock(binary); err != nil {
			return err
		}
	}
	return nil
}

// shadowed reports whether another plugin directory, which comes before the own, has a binary of the name.
func (d *Daemon) shadowed(name string) bool {
	for _, dir := range d.cfg.PluginDirs {
		if dir == d.cfg.bundled {
			return false
		}
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
			return true
		}
	}
	return false
}

// newHost makes the driver host of a data directory.
func newHost(dir *dataDir, r *nodeRecord, autoLock bool, observer driverhost.Observer, logger hclog.Logger) (*driverhost.Host, error) {
	return driverhost.New(driverhost.Config{
		PluginDirs: r.PluginDirs, StateDir: dir.file("drivers"), LockFile: dir.file(lockFile), AutoLock: autoLock,
		Cluster: r.Cluster, Node: r.Node, Generation: r.Generation, Observer: observer, Logger: logger,
	})
}

// openTargets opens all targets at once and returns after their first attempts, or firstAttempt.
func (d *Daemon) openTargets(ctx context.Context, targets []targetRecord) {
	ctx, cancel := context.WithTimeout(ctx, firstAttempt)
	defer cancel()
	var group sync.WaitGroup
	for _, t := range targets {
		group.Go(func() {
			err := d.host.Open(ctx, driverhost.TargetConfig{Kind: t.Kind, Driver: t.Driver, Name: t.Name, Config: t.Config})
			if err != nil {
				d.log.Error("a target is not up, trying on", "kind", t.Kind, "driver", t.Driver, "target", t.Name, "error", err)
			}
		})
	}
	group.Wait()
}

// configure decodes the targets' configurations against their drivers' schemas.
func configure(targets []Target, drivers []core.Driver) ([]targetRecord, error) {
	schemas := map[string][]core.Attribute{}
	for i := range drivers {
		schemas[string(drivers[i].Kind)+"/"+drivers[i].Name] = drivers[i].Target
	}
	out := make([]targetRecord, 0, len(targets))
	for _, t := range targets {
		record := targetRecord{Kind: t.Kind, Driver: t.Driver, Name: t.Name}
		if t.Decode != nil {
			schema, known := schemas[string(t.Kind)+"/"+t.Driver]
			var err error
			if record.Config, err = t.Decode(schema, known); err != nil {
				return nil, err
			}
		}
		out = append(out, record)
	}
	return out, nil
}
