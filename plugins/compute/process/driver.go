package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"

	"github.com/instarhq/instar/plugins/compute/process/artifact"
	"github.com/instarhq/instar/sdk"
)

// version is the driver's semantic version.
const version = "0.1.0"

// Driver is the compute driver. It is bound to a target by Configure.
type Driver struct {
	mu     sync.RWMutex
	target *target
}

var (
	_ sdk.Compute        = (*Driver)(nil)
	_ sdk.ArtifactKeeper = (*Driver)(nil)
)

// New returns a driver that is not bound to a target yet.
func New() *Driver { return &Driver{} }

// Describe implements sdk.Driver.
func (d *Driver) Describe(context.Context) (sdk.Description, error) {
	return sdk.Description{
		Name: "process", Version: version, Kind: sdk.KindCompute, Scope: sdk.ScopeNode, Doc: doc,
		Capabilities: []sdk.Capability{sdk.CapLogs, sdk.CapUsage, sdk.CapArtifacts},
		Target:       targetSchema, Workload: workloadSchema,
	}, nil
}

// Configure implements sdk.Driver. Another configuration of the same target applies to what is created
// from then on.
func (d *Driver) Configure(ctx context.Context, req sdk.ConfigureRequest) error {
	var cfg targetConfig
	if err := sdk.Decode(targetSchema, req.Config, &cfg); err != nil {
		return err
	}
	if err := cfg.check(); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.target != nil {
		if req.StateDir != d.target.given {
			return sdk.Conflict("this process has target %q with state in %s; another target needs another process",
				d.target.name, d.target.given)
		}
		return d.target.reconfigure(req, cfg)
	}
	t, err := openTarget(ctx, req, cfg)
	if err != nil {
		return err
	}
	d.target = t
	return nil
}

func (c targetConfig) check() error {
	switch {
	case c.User == "" && os.Geteuid() == 0 && !c.UIDRange.mapped():
		return sdk.InvalidConfig("uid_range", "the user namespace that the driver runs in has no ids %d-%d: choose a range that it has, or set user",
			c.UIDRange.first, c.UIDRange.last)
	case c.MaxBytes < 1:
		return sdk.InvalidConfig("artifact_max_bytes", "it must be at least 1")
	case c.MaxEntries < 1:
		return sdk.InvalidConfig("artifact_max_entries", "it must be at least 1")
	}
	for n, source := range c.Sources {
		if err := artifact.CheckBase(source); err != nil {
			return sdk.InvalidConfig(fmt.Sprintf("artifact_sources[%d]", n), "%w", err)
		}
	}
	if c.User != "" {
		if _, _, err := lookUp(c.User); err != nil {
			return sdk.InvalidConfig("user", "%w", err)
		}
	}
	return nil
}

// Close lets go of the target, so that another process can take it. Instances go on.
func (d *Driver) Close(ctx context.Context) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.target == nil {
		return nil
	}
	err := d.target.close(ctx)
	d.target = nil
	return err
}

// bound returns the target that the driver was configured for.
func (d *Driver) bound() (*target, error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if d.target == nil {
		return nil, sdk.Unavailable(0, "the driver is not configured")
	}
	return d.target, nil
}

// Resolve implements sdk.Compute.
func (d *Driver) Resolve(ctx context.Context, a sdk.Artifact) (sdk.Artifact, error) {
	t, err := d.bound()
	if err != nil {
		return sdk.Artifact{}, err
	}
	ctx, done, err := t.begin(ctx)
	if err != nil {
		return sdk.Artifact{}, err
	}
	defer done()
	return t.resolve(ctx, a)
}

// Fetch implements sdk.Compute.
func (d *Driver) Fetch(ctx context.Context, a sdk.Artifact, progress func(sdk.FetchProgress)) error {
	t, err := d.bound()
	if err != nil {
		return err
	}
	ctx, done, err := t.begin(ctx)
	if err != nil {
		return err
	}
	defer done()
	return t.fetch(ctx, a, progress)
}

// Prune implements sdk.Compute.
func (d *Driver) Prune(ctx context.Context, keep []string) (int64, error) {
	t, err := d.bound()
	if err != nil {
		return 0, err
	}
	_, done, err := t.begin(ctx)
	if err != nil {
		return 0, err
	}
	defer done()
	return t.prune(keep)
}

// Inspect implements sdk.Compute.
func (d *Driver) Inspect(_ context.Context, id string) (sdk.Instance, error) {
	t, err := d.bound()
	if err != nil {
		return sdk.Instance{}, err
	}
	i, err := t.find(id)
	if err != nil {
		return sdk.Instance{}, err
	}
	return newInspector(t).look(i)
}

// List implements sdk.Compute.
func (d *Driver) List(_ context.Context, cluster string) ([]sdk.Instance, error) {
	t, err := d.bound()
	if err != nil {
		return nil, err
	}
	look := newInspector(t)
	var found []sdk.Instance
	var failed []error
	for _, i := range t.all() {
		if i.rec.Cluster != cluster {
			continue
		}
		seen, err := look.look(i)
		if err != nil {
			failed = append(failed, fmt.Errorf("instance %s: %w", i.rec.ID, err))
			continue
		}
		found = append(found, seen)
	}
	// A list that leaves some out would look as if they were lost.
	if err := errors.Join(failed...); err != nil {
		return nil, err
	}
	return found, nil
}
