package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/driverhost"
)

// Validate checks a configuration without a data directory: the values, and the targets' blocks against
// the schemas of the drivers that are installed. It launches each driver once, to ask.
func Validate(ctx context.Context, cfg Config) (err error) {
	if err := cfg.complete(); err != nil {
		return err
	}
	temp, err := os.MkdirTemp("", "instard-validate-")
	if err != nil {
		return fmt.Errorf("validate: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(temp)) }()
	host, err := driverhost.New(driverhost.Config{
		PluginDirs: cfg.PluginDirs, StateDir: filepath.Join(temp, "drivers"), LockFile: filepath.Join(temp, lockFile),
		AutoLock: true, Cluster: "validate", Node: cfg.Node, Generation: 1, Logger: cfg.Logger,
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, host.Close()) }()
	found, problems := host.Discover(ctx)
	if _, err := configure(cfg.Targets, found); err != nil {
		return err
	}
	return missingDrivers(cfg, found, problems)
}

// missingDrivers says which targets would not come up for want of their driver.
func missingDrivers(cfg Config, found []core.Driver, problems []driverhost.Problem) error {
	have := map[string]bool{}
	for i := range found {
		have[string(found[i].Kind)+"/"+found[i].Name] = true
	}
	var errs []error
	for _, t := range cfg.Targets {
		if !have[string(t.Kind)+"/"+t.Driver] {
			errs = append(errs, core.Errorf(core.CodeInvalid, "target %s %q %q: no driver instar-%s-%s in %v can be used",
				t.Kind, t.Driver, t.Name, t.Kind, t.Driver, cfg.PluginDirs))
		}
	}
	if len(errs) > 0 {
		for _, p := range problems {
			errs = append(errs, fmt.Errorf("driver %s: %w", p.Path, p.Err))
		}
	}
	return errors.Join(errs...)
}
