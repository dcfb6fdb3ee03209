package sdktest_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/instarhq/instar/sdk"
	"github.com/instarhq/instar/sdk/sdktest"
)

// Inspect implements sdk.Compute.
func (d *soundCompute) Inspect(ctx context.Context, id string) (sdk.Instance, error) {
	if err := d.call(ctx); err != nil {
		if d.is("takes a lost backend for an empty one") {
			return sdk.Instance{}, sdk.NotFound("there is no instance %s", id)
		}
		return sdk.Instance{}, err
	}
	t, ok := d.world.find(d.name(id))
	if !ok {
		if d.is("calls an unknown id internal") {
			return sdk.Instance{}, errPlain
		}
		return sdk.Instance{}, sdk.NotFound("there is no instance %s", id)
	}
	return d.read(t), nil
}

// madeHere reports whether this process has made an instance.
func (d *soundCompute) madeHere(id string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.made[id] > 0
}

// List implements sdk.Compute.
func (d *soundCompute) List(ctx context.Context, cluster string) ([]sdk.Instance, error) {
	if err := d.call(ctx); err != nil {
		if d.is("takes a lost backend for an empty one") && sdk.CodeOf(err) == sdk.CodeUnavailable {
			return nil, nil
		}
		return nil, err
	}
	if d.is("lists other clusters' instances") {
		cluster = "*"
	}
	var list []sdk.Instance
	for _, t := range d.world.of(cluster) {
		switch {
		case d.is("lists what it remembers") && !d.madeHere(t.spec.ID), d.is("lists running instances only") && t.spec.Generation != 5:
			continue
		}
		list = append(list, d.read(t))
	}
	if d.is("lists only half of them beside changes") && d.busy() {
		return nil, nil
	}
	if d.is("list misses instances") && len(list) > 2 {
		list = list[1:]
	}
	return list, nil
}

// busy waits until a Create or Destroy is under way; false if there is none in a while.
func (d *soundCompute) busy() bool {
	for end := time.Now().Add(500 * time.Millisecond); time.Now().Before(end); {
		if !d.work.TryLock() {
			return true
		}
		d.work.Unlock()
		_ = pause(context.Background(), time.Millisecond)
	}
	return false
}

// Watch implements sdk.Compute.
func (d *soundCompute) Watch(ctx context.Context, event func(sdk.Instance) error) error {
	known := map[string]sdk.Instance{}
	if d.is("watches late") {
		for _, t := range d.world.of(d.cluster) {
			known[t.spec.ID] = d.read(t)
		}
	}
	if d.is("streams never end") {
		ctx = context.WithoutCancel(ctx)
	}
	defer func() { d.watchEnded.Store(true) }()
	for {
		next := d.world.next()
		if d.is("a Watch that ends takes the others along") && d.watchEnded.Load() {
			return errPlain
		}
		if err := d.call(ctx); err != nil {
			if !d.is("takes a lost backend for an empty one") {
				return err
			}
		}
		if err := d.report(known, event); err != nil && !d.is("ignores callbacks' errors") {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-next:
		}
	}
}

// report tells what has changed since it was told last.
func (d *soundCompute) report(known map[string]sdk.Instance, event func(sdk.Instance) error) error {
	there := map[string]bool{}
	list := d.world.of(d.cluster)
	d.world.mu.Lock()
	lost := d.world.down
	d.world.mu.Unlock()
	if lost {
		list = nil // only for a driver that takes a lost backend for an empty one
	}
	for _, t := range list {
		i := d.read(t)
		there[i.ID] = true
		if before, ok := known[i.ID]; ok && before.State == i.State {
			continue
		}
		known[i.ID] = i
		if i.State == sdk.StateExited && d.is("does not report exits") {
			continue
		}
		if err := event(i); err != nil {
			return err
		}
	}
	for id, i := range known {
		if there[id] {
			continue
		}
		delete(known, id)
		i.State = sdk.StateDestroyed
		if err := event(i); err != nil {
			return err
		}
	}
	return nil
}

// Logs implements sdk.Compute.
func (d *soundCompute) Logs(ctx context.Context, id string, opts sdk.LogOptions, line func(sdk.LogLine) error) error {
	if err := d.call(ctx); err != nil {
		return err
	}
	name, at := d.name(id), 0
	ended := ctx.Done()
	if d.is("streams never end") {
		ended = nil
	}
	for first := true; ; first = false {
		next := d.world.next()
		t, ok := d.world.find(name)
		if !ok && first {
			if d.is("calls an unknown id internal") {
				return errPlain
			}
			return sdk.NotFound("there is no instance %s", id)
		}
		if !ok && !d.is("following never ends") {
			return nil
		}
		if d.is("forgets output at restart") && !d.madeHere(id) {
			return nil
		}
		if first && opts.Tail > 0 {
			at = max(0, len(t.out)-opts.Tail)
		}
		for ; at < len(t.out); at++ {
			l := t.out[at]
			if d.is("logs backwards") {
				l = t.out[len(t.out)-1-at]
			}
			if err := line(l); err != nil && !d.is("ignores callbacks' errors") {
				return err
			}
		}
		if !opts.Follow {
			return nil
		}
		select {
		case <-ended:
			return ctx.Err()
		case <-next:
		}
	}
}

// Usage implements sdk.Compute.
func (d *soundCompute) Usage(ctx context.Context, interval time.Duration, report func([]sdk.Usage) error) error {
	for n := uint64(1); ; n++ {
		var samples []sdk.Usage
		for _, t := range d.world.of(d.cluster) {
			used := n * 1000
			if d.is("usage goes back") {
				used = 1_000_000 / n
			}
			samples = append(samples, sdk.Usage{ID: t.spec.ID, At: time.Now(), CPUNanos: used, Memory: 1 << 20})
		}
		if err := report(samples); err != nil {
			return err
		}
		if err := pause(ctx, max(interval, time.Millisecond)); err != nil {
			return err
		}
	}
}

// soundComputeFixture is a sound driver, or one with a fault, as the suite sees it through via.
func soundComputeFixture(fault string, quick bool, via func(sdktest.T, sdk.Compute) sdk.Compute) func(sdktest.T) sdktest.ComputeFixture {
	return func(t sdktest.T) sdktest.ComputeFixture {
		w, l, req := newWorld(), newLab(fault), request(t)
		harness := l.harness(quick, &w.mu, &w.delay, func() { w.away(true) }, func() error { w.away(false); return nil })
		if interrupts := strings.Contains(t.Name(), "-inside") || strings.HasSuffix(t.Name(), "-destroyed"); quick && interrupts {
			// Steps that take long and many moments: one of them falls between two steps for sure, however busy the
			// machine is.
			w.delay, harness.Rounds = 40*time.Millisecond, 8
		}
		if quick && t.Name() == "list/beside-changes" {
			w.delay = 10 * time.Millisecond // a List comes beside a change for sure
		}
		var current *soundCompute
		fresh := func(t sdktest.T) sdk.Compute {
			if current != nil {
				current.dead.Store(true)
			}
			current = &soundCompute{fault: fault, world: w, lab: l}
			return via(t, current)
		}
		open := func(t sdktest.T) sdk.Compute { return configured(t, fresh(t), req) }
		return sdktest.ComputeFixture{
			Driver: open(t), Configure: req, Artifact: sdk.Artifact{Source: "demo"}, Gone: sdk.Artifact{Source: "missing"},
			Config: behaves("runs"), Exits: behaves("exits"), Talks: behaves("talks"), Fails: behaves("fails"),
			Stubborn: behaves("stubborn"), Shows: behaves("shows"), Ports: []sdk.Port{{Name: "http"}}, Mounts: true,
			Reopen: open, Unconfigured: fresh, Crash: open,
			Harness: harness,
			Other: func(t sdktest.T) (sdk.Compute, sdk.ConfigureRequest) {
				other := request(t)
				other.Cluster = "c2"
				return configured(t, sdk.Compute(&soundCompute{world: w, lab: newLab("")}), other), other
			},
			Holds: func(sdktest.T) []string {
				var names []string
				for _, t := range w.of(req.Cluster) {
					names = append(names, t.name)
				}
				return names
			},
			Change: func(_ sdktest.T, id string) { w.change(id) },
		}
	}
}

func behaves(how string) []byte { return []byte(`{"behaviour": "` + how + `"}`) }

func TestSoundCompute(t *testing.T) {
	t.Parallel()
	t.Run("in process", func(t *testing.T) {
		t.Parallel()
		sdktest.Compute(t, soundComputeFixture("", false, direct[sdk.Compute]))
	})
	t.Run("over gRPC", func(t *testing.T) {
		t.Parallel()
		sdktest.Compute(t, soundComputeFixture("", false, sdktest.ServeCompute))
	})
}
