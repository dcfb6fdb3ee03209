package sdktest

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/instarhq/instar/sdk"
)

// ComputeFixture is a compute driver in a state that checks can begin with: configured on a target of its
// own, with something to run.
type ComputeFixture struct {
	Driver    sdk.Compute
	Configure sdk.ConfigureRequest // what Driver was configured with; Generation from 2, so that there is an older one
	Artifact  sdk.Artifact         // not pinned
	Config    json.RawMessage      // of the workload schema: an instance that runs until it is ended

	// What follows is optional; checks that need it are skipped without.

	Harness
	Exits json.RawMessage // an instance that ends by itself at once, with a status that is not 0
	Talks json.RawMessage // an instance that writes "out 1" to "out 5" to stdout and "err 1" to stderr, and runs on
	Fails json.RawMessage // an instance that the backend cannot start, as there is no such program
	// Stubborn is an instance that runs on when it is asked to stop, and writes "stubborn" to stdout as soon as that is
	// so. If the driver has no CapLogs, it has to be so from the beginning.
	Stubborn json.RawMessage
	// Shows is an instance that writes the value of its environment variable CONFORMANCE to stdout, then the
	// mounted file conformance/data.txt if it is there, and runs on.
	Shows  json.RawMessage
	Ports  []sdk.Port              // that the instances listen on
	Gone   sdk.Artifact            // an artifact whose source does not exist
	Mounts bool                    // the driver can mount files
	Tweak  func(*sdk.InstanceSpec) // last changes to every spec

	// Reopen gives a fresh driver, configured on the same state; the old process is gone. Unconfigured is the same
	// without Configure. Crash is Reopen at a moment when calls are under way, which end with an error.
	Reopen, Unconfigured, Crash func(T) sdk.Compute
	// Other is a driver on the same backend for another cluster, with a state directory of its own, configured.
	Other func(T) (sdk.Compute, sdk.ConfigureRequest)
	// Holds is what the backend has of the fixture's cluster, read past the driver: one entry for each instance.
	Holds func(T) []string
	// Change changes a running instance by hand, past the driver, so that it is not any more what it was created from.
	Change func(T, string)
}

// Compute runs the conformance suite of compute drivers. open makes a fixture for each check.
func Compute[R interface {
	T
	Runner[R]
}](t R, open func(T) ComputeFixture) {
	t.Helper()
	run(t, ComputeChecks(open))
}

// ComputeChecks are the checks of the suite, in order.
func ComputeChecks(open func(T) ComputeFixture) []Check {
	checks := commonChecks(sdk.KindCompute, func(t T) commonFixture {
		f := open(t)
		common := commonFixture{Harness: &f.Harness, driver: f.Driver, request: f.Configure}
		if f.Unconfigured != nil {
			common.unconfigured = func(t T) sdk.Driver { return f.Unconfigured(t) }
		}
		return common
	})
	for _, group := range [][]computeCheck{
		computeArtifacts, computeKeep, computeCreate, computeFailed, computeInterrupted, computeDestroy, computeRead,
		computeAdopt, computeStreams, computeLogs, computeValues, computeLimits, computeBackend,
	} {
		for _, c := range group {
			checks = append(checks, Check{c.name, c.promise, func(t T) {
				r := &computeRun{T: t, ComputeFixture: open(t)}
				defer r.tidyUp()
				c.run(r)
			}})
		}
	}
	return checks
}

type computeCheck struct {
	name    string
	promise string
	run     func(*computeRun)
}

// computeRun is one check under way.
type computeRun struct {
	T
	ComputeFixture
	pinned sdk.Artifact
	ending
}

// needs skips the check if the fixture or the driver cannot do it.
func (c *computeRun) needs(there bool, what string) {
	c.Helper()
	if !there {
		c.Skipf("not run: the fixture has no %s", what)
	}
}

func (c *computeRun) needsCapability(capability sdk.Capability) {
	c.Helper()
	d, err := c.Driver.Describe(c.Context())
	if err != nil {
		c.Fatalf("Describe: %v", err)
	}
	if !slices.Contains(d.Capabilities, capability) {
		c.Skipf("not run: the driver does not declare capability %q", capability)
	}
}

// pin resolves and fetches the artifact, once.
func (c *computeRun) pin() sdk.Artifact {
	c.Helper()
	if c.pinned.Digest != "" {
		return c.pinned
	}
	ctx, cancel := context.WithTimeout(c.Context(), c.patience())
	defer cancel()
	a, err := c.Driver.Resolve(ctx, c.Artifact)
	if err != nil {
		c.Fatalf("Resolve %q: %v", c.Artifact.Source, err)
	}
	if err := c.Driver.Fetch(ctx, a, nil); err != nil {
		c.Fatalf("Fetch %s: %v", a.Digest, err)
	}
	c.pinned = a
	return a
}

// spec is what a fresh instance is made of. Whatever becomes of it, it is destroyed after the check.
func (c *computeRun) spec() sdk.InstanceSpec {
	c.Helper()
	spec := sdk.InstanceSpec{
		ID: newID("conformance"), Cluster: c.Configure.Cluster, Generation: c.Configure.Generation,
		Service: "conformance", Revision: 1, RevisionDigest: digest("revision 1"),
		Artifact: c.pin(), Config: c.Config, Ports: c.Ports, Grace: time.Second,
	}
	if c.Tweak != nil {
		c.Tweak(&spec)
	}
	c.atEnd(func() {
		ctx, cancel := context.WithTimeout(context.Background(), c.patience())
		defer cancel()
		if err := c.Driver.Destroy(ctx, spec.ID, 0); err != nil {
			c.Errorf("Destroy %s after the check: %v", spec.ID, err)
		}
	})
	return spec
}

// create makes an instance that must come to be.
func (c *computeRun) create(spec sdk.InstanceSpec) sdk.Instance {
	c.Helper()
	ctx, cancel := context.WithTimeout(c.Context(), c.patience())
	defer cancel()
	i, err := c.Driver.Create(ctx, spec)
	if err != nil {
		c.Fatalf("Create %s: %v", spec.ID, err)
	}
	return i
}

func (c *computeRun) destroy(id string) {
	c.Helper()
	ctx, cancel := context.WithTimeout(c.Context(), c.patience())
	defer cancel()
	if err := c.Driver.Destroy(ctx, id, time.Second); err != nil {
		c.Fatalf("Destroy %s: %v", id, err)
	}
}

// reopen replaces the driver by a fresh one on the same state.
func (c *computeRun) reopen() {
	c.Helper()
	c.needs(c.Reopen != nil, "Reopen")
	c.Driver = c.Reopen(c)
}

// listed finds an instance in List; more than one of an id fails the check.
func (c *computeRun) listed(id string) (sdk.Instance, bool) {
	c.Helper()
	list, err := c.Driver.List(c.Context(), c.Configure.Cluster)
	if err != nil {
		c.Fatalf("List: %v", err)
	}
	var found []sdk.Instance
	for _, i := range list {
		if i.ID == id {
			found = append(found, i)
		}
	}
	if len(found) > 1 {
		c.Fatalf("List has instance %s %d times", id, len(found))
	}
	if len(found) == 0 {
		return sdk.Instance{}, false
	}
	return found[0], true
}

// same wants two readings to be of one instance.
func (c *computeRun) same(what string, got, want sdk.Instance) {
	c.Helper()
	if !got.Created.Equal(want.Created) || got.Fingerprint != want.Fingerprint {
		c.Errorf("%s: made %s with fingerprint %s, want the first one's: %s, %s",
			what, got.Created, got.Fingerprint, want.Created, want.Fingerprint)
	}
	for port, address := range want.Addresses {
		if got.Addresses[port] != address {
			c.Errorf("%s: port %q is at %q, want %q", what, port, got.Addresses[port], address)
		}
	}
	c.labels(what, got, want)
}

// running wants an instance to be there and to run.
func (c *computeRun) running(id string) sdk.Instance {
	c.Helper()
	i, err := c.Driver.Inspect(c.Context(), id)
	if err != nil || i.State != sdk.StateRunning {
		c.Fatalf("Inspect %s gives state %q, %v; want running (exit %+v)", id, i.State, err, i.Exit)
	}
	return i
}

// nothingOf wants neither driver nor backend to have anything of an instance.
func (c *computeRun) nothingOf(id string) {
	c.Helper()
	if i, ok := c.listed(id); ok {
		c.Errorf("List has instance %s, which should not be: %+v", id, i)
	}
	_, err := c.Driver.Inspect(c.Context(), id)
	wantCode(c, err, sdk.CodeNotFound, "Inspect of an instance that should not be")
	c.nothingHidden()
}

// nothingHidden wants the backend itself to have no more than List says, if the harness can look there.
func (c *computeRun) nothingHidden() {
	c.Helper()
	if c.Holds == nil {
		return
	}
	list, err := c.Driver.List(c.Context(), c.Configure.Cluster)
	if err != nil {
		c.Fatalf("List: %v", err)
	}
	if there := c.Holds(c); len(there) != len(list) {
		c.Errorf("the backend itself has %d instances of the cluster, %q; List has %d", len(there), there, len(list))
	}
}

// asked is an instance with the labels that its spec asks for.
func asked(spec sdk.InstanceSpec) sdk.Instance {
	return sdk.Instance{
		ID: spec.ID, Cluster: spec.Cluster, Generation: spec.Generation, Service: spec.Service,
		Revision: spec.Revision, RevisionDigest: spec.RevisionDigest,
	}
}

func (c *computeRun) labels(what string, got, want sdk.Instance) {
	c.Helper()
	type labels struct {
		id, cluster, service, revision string
		generation                     uint64
		number                         int
	}
	of := func(i sdk.Instance) labels {
		return labels{i.ID, i.Cluster, i.Service, i.RevisionDigest, i.Generation, i.Revision}
	}
	if of(got) != of(want) {
		c.Errorf("%s: labels are %+v, want %+v", what, of(got), of(want))
	}
}
