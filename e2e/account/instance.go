package main

import (
	"context"
	"time"

	"github.com/instarhq/instar/sdk"
)

// Destroy is idempotent; the id stays known, so that it is never created again.
func (d *driver) Destroy(ctx context.Context, id string, grace time.Duration) error {
	if err := d.account.note(askedDestroy, id); err != nil {
		return err
	}
	r, err := d.account.read(id)
	if sdk.CodeOf(err) == sdk.CodeNotFound {
		return nil
	}
	if err != nil || r.Destroyed {
		return err
	}
	if err := d.account.end(ctx, r, grace); err != nil {
		return err
	}
	return d.account.alone(func() error {
		if r, err = d.account.read(id); err != nil {
			return err
		}
		if r.Destroyed {
			return nil // another driver was quicker
		}
		r.Destroyed = true
		if err := d.account.write(r); err != nil {
			return err
		}
		return d.account.note(ended, id)
	})
}

// Inspect reads one instance.
func (d *driver) Inspect(_ context.Context, id string) (sdk.Instance, error) {
	r, err := d.account.read(id)
	if err != nil {
		return sdk.Instance{}, err
	}
	if r.Destroyed {
		return sdk.Instance{}, sdk.NotFound("instance %q was destroyed", id)
	}
	return d.account.instance(r)
}

// List reads all instances of a cluster, whichever node made them.
func (d *driver) List(_ context.Context, cluster string) ([]sdk.Instance, error) {
	records, err := d.account.all()
	if err != nil {
		return nil, err
	}
	var list []sdk.Instance
	for _, r := range records {
		if r.Spec.Cluster != cluster || r.Destroyed {
			continue
		}
		i, err := d.account.instance(r)
		if err != nil {
			return nil, err
		}
		list = append(list, i)
	}
	return list, nil
}

// watchEvery is how often the folder is read for Watch.
const watchEvery = 250 * time.Millisecond

// Watch begins with the present state, and then tells what another state than before has.
func (d *driver) Watch(ctx context.Context, event func(sdk.Instance) error) error {
	known := map[string]sdk.InstanceState{}
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		records, err := d.account.all()
		if err != nil {
			return err
		}
		for _, r := range records {
			i, err := d.account.instance(r)
			if err != nil {
				return err
			}
			before, there := known[i.ID]
			if i.State == before || (!there && r.Destroyed) {
				continue
			}
			known[i.ID] = i.State
			if err := event(i); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}
