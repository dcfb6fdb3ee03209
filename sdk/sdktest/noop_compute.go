package sdktest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"path"
	"strings"
	"time"

	"github.com/zclconf/go-cty/cty"

	"github.com/instarhq/instar/sdk"
)

// NoopCompute is a compute driver whose instances are entries of a map: correct, instant, and as cheap per
// call with 10,000 instances as with one. Its fields are knobs, to be set before it is used.
type NoopCompute struct {
	Name        string       // default "noop"
	Backend     *NoopBackend // default: one of its own
	CreateDelay time.Duration
	FailCreate  func(sdk.InstanceSpec) error // an error that it returns is Create's
	Health      sdk.Health                   // reported if Reason is set; default healthy
}

var _ sdk.Compute = (*NoopCompute)(nil)

// NewNoopCompute returns a driver on a backend; nil: one of its own.
func NewNoopCompute(backend *NoopBackend) *NoopCompute {
	if backend == nil {
		backend = &NoopBackend{}
	}
	return &NoopCompute{Backend: backend}
}

// noopWorkload is the workload configuration.
type noopWorkload struct {
	ExitAfter string `json:"exit_after"`
	ExitCode  int    `json:"exit_code"`
}

var noopWorkloadSchema = sdk.Schema{
	{Name: "exit_after", Type: cty.String, Doc: "Duration after which the instance ends by itself; without it, it runs on."},
	{Name: "exit_code", Type: cty.Number, Default: cty.NumberIntVal(1), Doc: "Status that it then ends with."},
}

// Describe implements sdk.Driver.
func (d *NoopCompute) Describe(context.Context) (sdk.Description, error) {
	return sdk.Description{
		Name: orDefault(d.Name, "noop"), Version: "0.1.0", Kind: sdk.KindCompute, Scope: sdk.ScopeNode,
		Doc:          "Instances that exist only in the driver's memory, for tests and benchmarks.",
		Capabilities: []sdk.Capability{sdk.CapLogs, sdk.CapUsage}, Workload: noopWorkloadSchema,
	}, nil
}

// Configure implements sdk.Driver.
func (d *NoopCompute) Configure(_ context.Context, req sdk.ConfigureRequest) error {
	if err := sdk.Decode(nil, req.Config, &struct{}{}); err != nil {
		return err
	}
	d.Backend.mu.Lock()
	defer d.Backend.mu.Unlock()
	if req.Generation < d.Backend.seen {
		return sdk.Conflict("generation %d is older than %d, which was seen before", req.Generation, d.Backend.seen)
	}
	d.Backend.seen = req.Generation
	return nil
}

// Probe implements sdk.Driver.
func (d *NoopCompute) Probe(ctx context.Context, report func(sdk.Health) error) error {
	return probeOnce(ctx, d.Health, report)
}

// Resolve implements sdk.Compute; the digest is that of the source's name.
func (d *NoopCompute) Resolve(_ context.Context, a sdk.Artifact) (sdk.Artifact, error) {
	if a == (sdk.Artifact{}) {
		return a, nil // an instance needs none
	}
	if strings.HasSuffix(a.Source, "missing") {
		return a, sdk.NotFound("artifact %q does not exist", a.Source)
	}
	a.Digest = digest(a.Source)
	if a.Checksum != "" && a.Checksum != a.Digest {
		return a, sdk.InvalidConfig("artifact.checksum", "%s has %s", a.Source, a.Digest)
	}
	return a, nil
}

// Fetch implements sdk.Compute.
func (d *NoopCompute) Fetch(_ context.Context, a sdk.Artifact, progress func(sdk.FetchProgress)) error {
	if progress != nil {
		progress(sdk.FetchProgress{Done: int64(len(a.Source)), Total: int64(len(a.Source))})
	}
	return nil
}

// Create implements sdk.Compute.
func (d *NoopCompute) Create(ctx context.Context, spec sdk.InstanceSpec) (sdk.Instance, error) {
	var config noopWorkload
	if err := sdk.Decode(noopWorkloadSchema, spec.Config, &config); err != nil {
		return sdk.Instance{}, err
	}
	exitAfter, err := parseOptional("exit_after", config.ExitAfter)
	if err != nil {
		return sdk.Instance{}, err
	}
	if err := checkSpec(spec); err != nil {
		return sdk.Instance{}, err
	}
	if d.FailCreate != nil {
		if err := d.FailCreate(spec); err != nil {
			return sdk.Instance{}, err
		}
	}
	if err := sleep(ctx, d.CreateDelay); err != nil {
		return sdk.Instance{}, err
	}
	return d.create(spec, exitAfter, config.ExitCode)
}

// checkSpec refuses what an instance could not be made of.
func checkSpec(spec sdk.InstanceSpec) error {
	if spec.ID == "" {
		return sdk.InvalidConfig("id", "an instance needs an id")
	}
	for _, m := range spec.Mounts {
		if clean := path.Clean("/" + m.Path); m.Path == "" || clean != "/"+m.Path {
			return sdk.InvalidConfig("mount", "path %q leaves the instance or is not clean", m.Path)
		}
	}
	if len(spec.Env) == 0 {
		return nil
	}
	ports := make(map[string]int, len(spec.Ports))
	for _, p := range spec.Ports {
		ports[p.Name] = p.Number
	}
	for name, value := range spec.Env {
		if _, err := sdk.Expand(value, ports, spec.ID); err != nil {
			return sdk.InvalidConfig("env."+name, "%w", err)
		}
	}
	return nil
}

func (d *NoopCompute) create(spec sdk.InstanceSpec, exitAfter time.Duration, code int) (sdk.Instance, error) {
	b := d.Backend
	b.mu.Lock()
	defer b.mu.Unlock()
	if found, ok := b.instances[spec.ID]; ok {
		if found.RevisionDigest != spec.RevisionDigest {
			return sdk.Instance{}, sdk.Conflict("instance %s exists with revision %s", spec.ID, found.RevisionDigest)
		}
		return found, nil
	}
	if _, gone := b.destroyed[spec.ID]; gone {
		return sdk.Instance{}, sdk.Conflict("instance %s was destroyed", spec.ID)
	}
	b.made++
	i := sdk.Instance{
		ID: spec.ID, Cluster: spec.Cluster, Generation: spec.Generation, Service: spec.Service,
		Revision: spec.Revision, RevisionDigest: spec.RevisionDigest, State: sdk.StateRunning,
		Fingerprint: fingerprint(spec), Created: time.Now().UTC(),
	}
	for n, p := range spec.Ports {
		number := p.Number
		if number == 0 {
			number = 20000 + (b.made*8+n)%40000
		}
		if i.Addresses == nil {
			i.Addresses = make(map[string]string, len(spec.Ports))
		}
		i.Addresses[p.Name] = fmt.Sprintf("127.0.0.1:%d", number)
	}
	b.put(i)
	if exitAfter > 0 {
		time.AfterFunc(exitAfter, func() { b.exit(spec.ID, code, exitAfter) })
	}
	return i, nil
}

// exit ends an instance by itself, if it is still there.
func (b *NoopBackend) exit(id string, code int, after time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	i, ok := b.instances[id]
	if !ok {
		return
	}
	i.State = sdk.StateExited
	i.Exit = &sdk.Exit{Code: code, Message: fmt.Sprintf("exited with status %d after %s", code, after), At: time.Now().UTC()}
	b.put(i)
}

// Destroy implements sdk.Compute.
func (d *NoopCompute) Destroy(_ context.Context, id string, _ time.Duration) error {
	d.Backend.mu.Lock()
	defer d.Backend.mu.Unlock()
	d.Backend.remove(id)
	return nil
}

// Inspect implements sdk.Compute.
func (d *NoopCompute) Inspect(_ context.Context, id string) (sdk.Instance, error) {
	d.Backend.mu.Lock()
	defer d.Backend.mu.Unlock()
	i, ok := d.Backend.instances[id]
	if !ok {
		return sdk.Instance{}, sdk.NotFound("there is no instance %q", id)
	}
	return i, nil
}

// List implements sdk.Compute.
func (d *NoopCompute) List(_ context.Context, cluster string) ([]sdk.Instance, error) {
	return d.Backend.list(func(i sdk.Instance) bool { return i.Cluster == cluster }), nil
}

// Watch implements sdk.Compute.
func (d *NoopCompute) Watch(ctx context.Context, event func(sdk.Instance) error) error {
	w, stop := d.Backend.watch()
	defer stop()
	for {
		for _, i := range w.take() {
			if err := event(i); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-w.ready:
		}
	}
}

// Logs implements sdk.Compute: every instance has written one line to each stream.
func (d *NoopCompute) Logs(ctx context.Context, id string, opts sdk.LogOptions, line func(sdk.LogLine) error) error {
	w, stop := d.Backend.watch()
	defer stop()
	i, err := d.Inspect(ctx, id)
	if err != nil {
		return err
	}
	lines := []sdk.LogLine{
		{Time: i.Created, Stream: "stdout", Text: "hello from " + id}, {Time: i.Created, Stream: "stderr", Text: "no complaints"},
	}
	if opts.Tail > 0 && opts.Tail < len(lines) {
		lines = lines[len(lines)-opts.Tail:]
	}
	for _, l := range lines {
		if err := line(l); err != nil {
			return err
		}
	}
	for opts.Follow {
		for _, i := range w.take() {
			if i.ID == id && i.State == sdk.StateDestroyed {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-w.ready:
		}
	}
	return nil
}

// Usage implements sdk.Compute: an instance uses a thousandth of a core.
func (d *NoopCompute) Usage(ctx context.Context, interval time.Duration, report func([]sdk.Usage) error) error {
	for {
		now := time.Now().UTC()
		var samples []sdk.Usage
		for _, i := range d.Backend.list(func(i sdk.Instance) bool { return i.State == sdk.StateRunning }) {
			samples = append(samples, sdk.Usage{ID: i.ID, At: now, CPUNanos: uint64(now.Sub(i.Created)) / 1000, Memory: 1 << 20})
		}
		if err := report(samples); err != nil {
			return err
		}
		if err := sleep(ctx, interval); err != nil {
			return err
		}
	}
}

// Prune implements sdk.Compute; there is nothing to remove.
func (d *NoopCompute) Prune(context.Context, []string) (int64, error) { return 0, nil }

// fingerprint digests what an instance is created from.
func fingerprint(spec sdk.InstanceSpec) string {
	data, err := json.Marshal(spec)
	if err != nil {
		return "unmarshalable: " + err.Error()
	}
	return digest(string(data))
}

func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "sha256:" + hex.EncodeToString(sum[:])
}
