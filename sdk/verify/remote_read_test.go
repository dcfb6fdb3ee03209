package verify_test

import (
	"context"
	"net/http"
	"time"

	"github.com/instarhq/instar/sdk"
)

// thing reads one thing.
func (d *remote) thing(ctx context.Context, id string) (sdk.Instance, thing, error) {
	var data []byte
	status, err := http.StatusNotFound, error(nil)
	if !nameless(id) {
		status, err = d.call(ctx, http.MethodGet, d.cluster, id, nil, &data)
	}
	if err != nil {
		return sdk.Instance{}, thing{}, err
	}
	if status == http.StatusNotFound {
		return sdk.Instance{}, thing{}, sdk.NotFound("there is no instance %s", id)
	}
	return d.read(data)
}

// things lists a cluster.
func (d *remote) things(ctx context.Context, cluster string) ([]sdk.Instance, error) {
	if cluster == "" {
		return nil, nil
	}
	var all [][]byte
	if _, err := d.call(ctx, http.MethodGet, cluster, "", nil, &all); err != nil {
		return nil, err
	}
	var list []sdk.Instance
	for _, data := range all {
		i, _, err := d.read(data)
		if err != nil {
			return nil, err
		}
		if i.Cluster == cluster {
			list = append(list, i)
		}
	}
	return list, nil
}

// Destroy implements sdk.Compute.
func (d *remote) Destroy(ctx context.Context, id string, grace time.Duration) error {
	_, t, err := d.thing(ctx, id)
	if sdk.CodeOf(err) != sdk.CodeNotFound && err != nil {
		return err
	}
	if t.Behaviour == "stubborn" {
		if d.fault == "waits for the stubborn" {
			grace = time.Hour
		}
		if err := pause(ctx, grace); err != nil {
			return err
		}
	}
	if nameless(id) {
		return nil
	}
	var nothing any
	_, err = d.call(ctx, http.MethodDelete, d.cluster, id, nil, &nothing)
	return err
}

// Inspect implements sdk.Compute.
func (d *remote) Inspect(ctx context.Context, id string) (sdk.Instance, error) {
	i, _, err := d.thing(ctx, id)
	return i, err
}

// List implements sdk.Compute.
func (d *remote) List(ctx context.Context, cluster string) ([]sdk.Instance, error) {
	list, err := d.things(ctx, cluster)
	if d.fault == "takes a lost backend for an empty one" && sdk.CodeOf(err) == sdk.CodeUnavailable {
		return nil, nil
	}
	return list, err
}

// Watch implements sdk.Compute.
func (d *remote) Watch(ctx context.Context, event func(sdk.Instance) error) error {
	known := map[string]sdk.Instance{}
	for {
		list, err := d.things(ctx, d.cluster)
		if err != nil {
			return err
		}
		there := map[string]bool{}
		for _, i := range list {
			there[i.ID] = true
			if before, ok := known[i.ID]; ok && before.State == i.State {
				continue
			}
			known[i.ID] = i
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
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
}

// Logs implements sdk.Compute.
func (d *remote) Logs(ctx context.Context, id string, opts sdk.LogOptions, line func(sdk.LogLine) error) error {
	_, t, err := d.thing(ctx, id)
	if err != nil {
		return err
	}
	if opts.Tail > 0 {
		t.Out = t.Out[max(0, len(t.Out)-opts.Tail):]
	}
	for _, l := range t.Out {
		if err := line(l); err != nil {
			return err
		}
	}
	for opts.Follow {
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return err
		}
		_, _, err := d.thing(ctx, id)
		if sdk.CodeOf(err) == sdk.CodeNotFound {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Usage implements sdk.Compute.
func (d *remote) Usage(ctx context.Context, interval time.Duration, report func([]sdk.Usage) error) error {
	for {
		list, err := d.things(ctx, d.cluster)
		if err != nil {
			return err
		}
		var samples []sdk.Usage
		now := time.Now().UTC()
		for _, i := range list {
			samples = append(samples, sdk.Usage{ID: i.ID, At: now, CPUNanos: uint64(now.Sub(i.Created)), Memory: 1 << 20})
		}
		if err := report(samples); err != nil {
			return err
		}
		if err := pause(ctx, max(interval, time.Millisecond)); err != nil {
			return err
		}
	}
}
