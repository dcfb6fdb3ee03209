package sdktest_test

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/zclconf/go-cty/cty"

	"github.com/instarhq/instar/sdk"
	"github.com/instarhq/instar/sdk/sdktest"
)

// soundTraffic is a traffic driver that keeps the whole contract, in front of a plane; fault is the one thing that
// is wrong with it where it must fail. Its state is a file, so that it can be killed and reopened.
type soundTraffic struct {
	fault string
	plane *plane
	lab   *lab
	dead  atomic.Bool // the process was killed: nothing that it still does reaches anything

	observed atomic.Int64 // Observes that have ended; only faults look at it

	mu    sync.Mutex
	dir   string
	state trafficState
}

// trafficState is what survives the process.
type trafficState struct {
	Cluster     uint64 // generation of the cluster
	Routes      map[string]sdk.Route
	Generations map[string]uint64 // also of removed routes
}

var (
	targetSchema = sdk.Schema{
		{Name: "endpoint", Type: cty.String, Default: cty.StringVal("here"), Doc: "Where the backend is."},
		{Name: "token", Type: cty.String, Sensitive: true, Doc: "What the backend wants to know."},
		{Name: "tags", Type: cty.Map(cty.String), Doc: "Anything."},
	}
	routeSchema = sdk.Schema{
		{Name: "retries", Type: cty.Number, Default: cty.NumberIntVal(0), Doc: "How often a request is repeated."},
		{Name: "key", Type: cty.String, Sensitive: true, Doc: "What clients have to show."},
	}
)

func (d *soundTraffic) is(fault string) bool { return d.fault == fault }

// Describe implements sdk.Driver.
func (d *soundTraffic) Describe(context.Context) (sdk.Description, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.dir == "" && d.is("describes itself only when it is configured") {
		return sdk.Description{}, sdk.Unavailable(time.Second, "not configured yet")
	}
	desc := sdk.Description{
		Name: "sound", Version: "1.0.0", Kind: sdk.KindTraffic, Scope: sdk.ScopeNode, Doc: "A driver that keeps its contract.",
		Capabilities: []sdk.Capability{sdk.CapHTTP, sdk.CapTCP, sdk.CapHold}, Target: targetSchema, Workload: routeSchema,
	}
	return d.lab.spoil(desc), nil
}

// Configure implements sdk.Driver.
func (d *soundTraffic) Configure(_ context.Context, req sdk.ConfigureRequest) error {
	if err := d.lab.configure(req.Config); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.dir == "" {
		if err := d.load(req.StateDir); err != nil {
			return err
		}
	}
	if req.Generation < d.state.Cluster && !d.is("accepts an older generation of the cluster") {
		return sdk.Conflict("generation %d is older than %d", req.Generation, d.state.Cluster)
	}
	if d.state.Cluster == req.Generation {
		return nil
	}
	d.state.Cluster = req.Generation
	return d.save()
}

// load reads the state of the process before, and brings the plane to it.
func (d *soundTraffic) load(dir string) error {
	d.dir = dir
	d.state = trafficState{Routes: map[string]sdk.Route{}, Generations: map[string]uint64{}}
	data, err := os.ReadFile(filepath.Join(dir, "state.json"))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, &d.state); err != nil {
		return err
	}
	switch d.fault {
	case "forgets the generation of the cluster at restart":
		d.state.Cluster = 0
	case "forgets routes at restart":
		d.state.Routes = map[string]sdk.Route{}
	case "its data plane ends with the process":
		defer d.plane.stop()
	case "forgets generations at restart":
		d.state.Generations = map[string]uint64{}
	}
	for id, r := range d.state.Routes {
		if o, err := d.plane.observe(id); err == nil && o.Generation == r.Generation {
			continue
		}
		if err := d.plane.put(r); err != nil {
			return err
		}
	}
	for _, id := range d.plane.list() {
		if _, ok := d.state.Routes[id]; !ok {
			d.plane.remove(id, d.state.Generations[id], 0)
		}
	}
	return nil
}

func (d *soundTraffic) save() error {
	if d.dead.Load() {
		return errKilled
	}
	data, err := json.Marshal(d.state)
	if err != nil {
		return err
	}
	path := filepath.Join(d.dir, "state.json")
	if err := os.WriteFile(path+".new", data, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

var errKilled = errors.New("this process was killed")

func (d *soundTraffic) call(ctx context.Context) error {
	if d.is("blocks on cancel") {
		ctx = context.WithoutCancel(ctx)
	}
	if err := d.plane.call(ctx); err != nil {
		return err
	}
	if d.dead.Load() {
		return errKilled
	}
	return nil
}

// Probe implements sdk.Driver.
func (d *soundTraffic) Probe(ctx context.Context, report func(sdk.Health) error) error {
	return d.lab.probe(ctx, func() bool { return d.plane.call(ctx) == nil }, report)
}

// Apply implements sdk.Traffic.
func (d *soundTraffic) Apply(ctx context.Context, r sdk.Route) error {
	if d.is("panics on empty input") && r.ID == "" {
		panic("no such luck")
	}
	if err := d.lab.decode(routeSchema, r.Config); err != nil {
		return err
	}
	plainRoute := r
	plainRoute.Config = nil
	if err := sdktest.NewNoopTraffic(nil).Apply(ctx, plainRoute); err != nil && !d.is("accepts any route") {
		return err // it refuses what no data plane could do
	}
	switch d.fault {
	case "mangles unicode":
		r.ID = strings.ToValidUTF8(strings.Map(func(c rune) rune { return c & 0x7f }, r.ID), "")
	case "truncates at a limit":
		r.Pools = slices.Clone(r.Pools) // those of the caller are his own
		for n, pool := range r.Pools {
			r.Pools[n].Endpoints = pool.Endpoints[:min(len(pool.Endpoints), 1000)]
		}
	}
	if d.is("does not look at its context") && pause(ctx, 100*time.Millisecond) != nil {
		_ = pause(context.Background(), 2*time.Second)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.leaveHalf(ctx, r); err != nil {
		return err
	}
	if err := d.call(ctx); err != nil {
		if d.is("says yes without the data plane") && sdk.CodeOf(err) == sdk.CodeUnavailable {
			return nil
		}
		return err
	}
	known := d.state.Generations[r.ID]
	_, there := d.state.Routes[r.ID]
	switch {
	case r.Generation < known, r.Generation == known && !there:
		switch d.fault {
		case "accepts an older generation":
			return d.bring(r)
		case "ignores an older generation":
			return nil
		case "calls a conflict internal":
			return errors.New("generations are confused")
		}
		return sdk.Conflict("route %s: generation %d is older than %d", r.ID, r.Generation, known)
	case r.Generation == known && d.is("takes a cancelled apply for an applied one"):
		return nil
	case r.Generation == known && !d.is("applies the same generation again"):
		return d.plane.put(d.state.Routes[r.ID]) // a crash may have come between state and plane
	}
	return d.bring(r)
}

// leaveHalf is what some drivers do with a call that is interrupted.
func (d *soundTraffic) leaveHalf(ctx context.Context, r sdk.Route) error {
	mixed := r
	mixed.Generation = d.state.Generations[r.ID]
	switch {
	case d.is("takes a cancelled apply for an applied one") && ctx.Err() != nil:
		d.state.Routes[r.ID], d.state.Generations[r.ID] = r, r.Generation
		return ctx.Err()
	case d.is("leaves half of a cancelled apply") && mixed.Generation > 0:
		_ = d.plane.put(mixed)
		return pause(ctx, 100*time.Millisecond)
	case d.is("leaves half of an apply when the data plane is lost") && mixed.Generation > 0:
		// Long enough for the loss to come within it, however busy the machine is.
		_ = d.plane.put(mixed)
		for end := time.Now().Add(300 * time.Millisecond); time.Now().Before(end); {
			if err := d.plane.call(ctx); err != nil {
				return err
			}
			_ = pause(ctx, time.Millisecond)
		}
	}
	return nil
}

// bring makes a route durable and then real; a failure leaves what was before.
func (d *soundTraffic) bring(r sdk.Route) error {
	before := d.state
	d.state.Routes, d.state.Generations = maps.Clone(before.Routes), maps.Clone(before.Generations)
	d.state.Routes[r.ID], d.state.Generations[r.ID] = r, r.Generation
	if err := d.save(); err != nil {
		d.state = before
		return err
	}
	if d.is("mixes generations") && before.Generations[r.ID] > 0 {
		mixed := r
		mixed.Generation = before.Generations[r.ID]
		_ = d.plane.put(mixed)
		d.awaitObserved()
	}
	if err := d.plane.put(r); err != nil {
		d.state = before
		return errors.Join(err, d.save())
	}
	d.lab.leak(d.dir, r.ID)
	return nil
}

// awaitObserved waits until an Observe has begun and ended, however busy the machine is.
func (d *soundTraffic) awaitObserved() {
	seen := d.observed.Load() + 2 // the first one to end may have begun before
	for end := time.Now().Add(5 * time.Second); d.observed.Load() < seen && time.Now().Before(end); {
		_ = pause(context.Background(), time.Millisecond)
	}
}

// Observe implements sdk.Traffic.
func (d *soundTraffic) Observe(ctx context.Context, id string) (sdk.Observation, error) {
	defer d.observed.Add(1)
	if err := d.call(ctx); err != nil && !d.is("observes from memory") {
		return sdk.Observation{}, err
	}
	if d.is("observes from memory") {
		memory := sdktest.NewNoopTraffic(nil)
		d.mu.Lock()
		for _, r := range d.state.Routes {
			r.Config = nil
			_ = memory.Apply(ctx, r)
		}
		d.mu.Unlock()
		return memory.Observe(ctx, id)
	}
	return d.plane.observe(id)
}

// List implements sdk.Traffic.
func (d *soundTraffic) List(ctx context.Context) ([]string, error) {
	if err := d.call(ctx); err != nil {
		return nil, err
	}
	ids := d.plane.list()
	if d.is("list misses routes") && len(ids) > 1 {
		ids = ids[:1]
	}
	return ids, nil
}

// Remove implements sdk.Traffic.
func (d *soundTraffic) Remove(ctx context.Context, id string, generation uint64, drain time.Duration) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	known := d.state.Generations[id]
	if generation < known && !d.is("accepts an older remove") {
		return sdk.Conflict("route %s: generation %d is older than %d", id, generation, known)
	}
	if err := d.call(ctx); err != nil {
		return err
	}
	before := d.state
	if _, there := before.Routes[id]; !there && d.is("remove is not idempotent") {
		return sdk.NotFound("there is no route %q", id)
	}
	d.state.Routes, d.state.Generations = maps.Clone(before.Routes), maps.Clone(before.Generations)
	delete(d.state.Routes, id)
	d.state.Generations[id] = generation
	if d.is("remove forgets the generation") {
		delete(d.state.Generations, id)
	}
	if err := d.save(); err != nil {
		d.state = before
		return err
	}
	d.plane.remove(id, generation, drain)
	return nil
}

// Hold implements sdk.Traffic.
func (d *soundTraffic) Hold(_ context.Context, id string, limits sdk.HoldLimits) error {
	return d.plane.hold(id, limits)
}

// Release implements sdk.Traffic.
func (d *soundTraffic) Release(_ context.Context, id string) error { return d.plane.free(id) }

// soundTrafficFixture is a sound driver, or one with a fault, as the suite sees it through via.
func soundTrafficFixture(fault string, quick bool, via func(sdktest.T, sdk.Traffic) sdk.Traffic) func(sdktest.T) sdktest.TrafficFixture {
	return func(t sdktest.T) sdktest.TrafficFixture {
		p, l, req := newPlane(fault), newLab(fault), request(t)
		t.Cleanup(p.stop)
		var current *soundTraffic
		fresh := func(t sdktest.T) sdk.Traffic {
			if current != nil {
				current.dead.Store(true)
			}
			current = &soundTraffic{fault: fault, plane: p, lab: l}
			return via(t, current)
		}
		open := func(t sdktest.T) sdk.Traffic { return configured(t, fresh(t), req) }
		return sdktest.TrafficFixture{
			Driver: open(t), Configure: req, DataPlane: true, Reopen: open, Unconfigured: fresh, Crash: open,
			Harness: l.harness(quick, &p.mu, &p.delay, p.stop, p.start),
		}
	}
}

func TestSoundTraffic(t *testing.T) {
	t.Parallel()
	t.Run("in process", func(t *testing.T) {
		t.Parallel()
		sdktest.Traffic(t, soundTrafficFixture("", false, direct[sdk.Traffic]))
	})
	t.Run("over gRPC", func(t *testing.T) {
		t.Parallel()
		sdktest.Traffic(t, soundTrafficFixture("", false, sdktest.ServeTraffic))
	})
}
