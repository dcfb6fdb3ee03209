package docker

import (
	"context"
	"sync"
	"time"

	"github.com/instarhq/instar/sdk"
)

// version is the driver's semantic version.
const version = "0.1.0"

// Driver is the compute driver. It is bound to a target by Configure.
type Driver struct {
	mu     sync.RWMutex
	target *target
}

var _ sdk.Compute = (*Driver)(nil)

// New returns a driver that is not bound to a target yet.
func New() *Driver { return &Driver{} }

// Describe implements sdk.Driver.
func (d *Driver) Describe(context.Context) (sdk.Description, error) {
	return sdk.Description{
		Name: "docker", Version: version, Kind: sdk.KindCompute, Scope: sdk.ScopeNode, Doc: doc,
		Capabilities: []sdk.Capability{sdk.CapLogs, sdk.CapUsage},
		Target:       targetSchema, Workload: workloadSchema,
	}, nil
}

// Configure implements sdk.Driver. It does not need the engine, which may come later; another configuration of
// the same target applies to what happens from then on.
func (d *Driver) Configure(ctx context.Context, req sdk.ConfigureRequest) error {
	var cfg targetConfig
	if err := sdk.Decode(targetSchema, req.Config, &cfg); err != nil {
		return err
	}
	link, err := cfg.check()
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.target != nil {
		if req.StateDir != d.target.given {
			return sdk.Conflict("this process has target %q with state in %s; another target needs another process",
				d.target.name, d.target.given)
		}
		return d.target.reconfigure(req, cfg, link)
	}
	t, err := openTarget(ctx, req, cfg, link)
	if err != nil {
		return err
	}
	d.target = t
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

// begin returns the target that the driver was configured for; the context ends also with the target.
func (d *Driver) begin(ctx context.Context) (*target, context.Context, func(), error) {
	d.mu.RLock()
	t := d.target
	d.mu.RUnlock()
	if t == nil {
		return nil, nil, nil, sdk.Unavailable(0, "the driver is not configured")
	}
	ctx, done, err := t.begin(ctx)
	return t, ctx, done, err
}

// Resolve implements sdk.Compute.
func (d *Driver) Resolve(ctx context.Context, a sdk.Artifact) (sdk.Artifact, error) {
	t, ctx, done, err := d.begin(ctx)
	if err != nil {
		return sdk.Artifact{}, err
	}
	defer done()
	return t.resolve(ctx, a)
}

// Fetch implements sdk.Compute.
func (d *Driver) Fetch(ctx context.Context, a sdk.Artifact, progress func(sdk.FetchProgress)) error {
	t, ctx, done, err := d.begin(ctx)
	if err != nil {
		return err
	}
	defer done()
	_, err = t.fetch(ctx, a, progress)
	return err
}

// Prune implements sdk.Compute.
func (d *Driver) Prune(ctx context.Context, keep []string) (int64, error) {
	t, ctx, done, err := d.begin(ctx)
	if err != nil {
		return 0, err
	}
	defer done()
	return t.prune(ctx, keep)
}

// Create implements sdk.Compute.
func (d *Driver) Create(ctx context.Context, spec sdk.InstanceSpec) (sdk.Instance, error) {
	t, ctx, done, err := d.begin(ctx)
	if err != nil {
		return sdk.Instance{}, err
	}
	defer done()
	return behind(ctx, t, func() (sdk.Instance, error) { return t.create(ctx, spec) })
}

// Destroy implements sdk.Compute.
func (d *Driver) Destroy(ctx context.Context, id string, grace time.Duration) error {
	t, ctx, done, err := d.begin(ctx)
	if err != nil {
		return err
	}
	defer done()
	_, err = behind(ctx, t, func() (struct{}, error) { return struct{}{}, t.destroy(ctx, id, grace) })
	return err
}

// Inspect implements sdk.Compute.
func (d *Driver) Inspect(ctx context.Context, id string) (sdk.Instance, error) {
	t, ctx, done, err := d.begin(ctx)
	if err != nil {
		return sdk.Instance{}, err
	}
	defer done()
	c, err := t.find(ctx, id)
	if err != nil {
		return sdk.Instance{}, err
	}
	return t.read(ctx, c)
}

// List implements sdk.Compute.
func (d *Driver) List(ctx context.Context, cluster string) ([]sdk.Instance, error) {
	t, ctx, done, err := d.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	return t.list(ctx, cluster)
}
