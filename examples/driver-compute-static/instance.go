package main

import (
	"context"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"time"

	"github.com/instarhq/instar/sdk"
)

// Create is idempotent: what there is under the id is the answer, whatever has become of it. The record is
// written before the answer, and nothing is ever made from a record twice.
func (d *driver) Create(ctx context.Context, spec sdk.InstanceSpec) (sdk.Instance, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if r := d.store.records[spec.ID]; r != nil {
		switch {
		case r.Destroyed:
			return sdk.Instance{}, sdk.Conflict("instance %s was destroyed", spec.ID)
		case r.Spec.RevisionDigest != spec.RevisionDigest:
			return sdk.Instance{}, sdk.Conflict("instance %s exists with revision %s", spec.ID, r.Spec.RevisionDigest)
		}
		return r.instance(), nil
	}
	if err := ctx.Err(); err != nil {
		return sdk.Instance{}, err // nothing has been made yet
	}
	if err := check(spec); err != nil {
		return sdk.Instance{}, err
	}
	if _, err := os.Stat(d.store.artifact(spec.Artifact.Digest)); err != nil {
		return sdk.Instance{}, sdk.NotFound("artifact %s has not been fetched", spec.Artifact.Digest)
	}
	r := &record{Spec: spec, Created: time.Now().UTC(), Ports: map[string]int{}}
	for _, p := range spec.Ports {
		number, err := freePort(d.bind, p)
		if err != nil {
			return sdk.Instance{}, err
		}
		r.Ports[p.Name] = number
	}
	r.Bind = d.bind
	s, err := d.start(r)
	if err != nil {
		return sdk.Instance{}, err
	}
	if err := d.store.write(r); err != nil {
		s.close()
		return sdk.Instance{}, err
	}
	d.sites[spec.ID] = s
	d.tell(r.instance())
	return r.instance(), nil
}

// Ports are chosen below those that the kernel gives to outgoing connections: an instance comes back at its port
// when the driver does, and nobody must have taken it meanwhile.
const (
	firstPort = 15000
	lastPort  = 19999
)

// freePort is the port asked for, or one that is free now.
func freePort(bind string, p sdk.Port) (int, error) {
	if p.Number != 0 {
		return p.Number, tryPort(bind, p.Name, p.Number)
	}
	var err error
	for range 100 {
		number := firstPort + rand.IntN(lastPort-firstPort+1) //nolint:gosec // any will do
		if err = tryPort(bind, p.Name, number); err == nil {
			return number, nil
		}
	}
	return 0, err
}

func tryPort(bind, name string, number int) error {
	l, err := net.Listen("tcp", net.JoinHostPort(bind, strconv.Itoa(number)))
	if err != nil {
		return sdk.Unavailable(time.Second, "port %q: %w", name, err)
	}
	return l.Close()
}

// Destroy is idempotent; the id stays known, so that it is never created again.
func (d *driver) Destroy(_ context.Context, id string, grace time.Duration) error {
	d.mu.Lock()
	s := d.sites[id]
	d.mu.Unlock()
	if s != nil {
		s.drain(grace) // may take all of grace: other calls must not wait for it
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	r := d.store.records[id]
	if r == nil || r.Destroyed {
		return nil
	}
	delete(d.sites, id)
	// Only the id is kept: environment and files may be secrets.
	gone := &record{Spec: sdk.InstanceSpec{ID: id, Cluster: r.Spec.Cluster}, Created: r.Created, Destroyed: true}
	if err := d.store.write(gone); err != nil {
		return err
	}
	i := r.instance()
	i.State = sdk.StateDestroyed
	d.tell(i)
	return nil
}

// Inspect reads one instance.
func (d *driver) Inspect(_ context.Context, id string) (sdk.Instance, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	r := d.store.records[id]
	if r == nil || r.Destroyed {
		return sdk.Instance{}, sdk.NotFound("there is no instance %q", id)
	}
	return r.instance(), nil
}

// List reads all instances of a cluster.
func (d *driver) List(_ context.Context, cluster string) ([]sdk.Instance, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var list []sdk.Instance
	for _, r := range d.store.records {
		if r.Spec.Cluster == cluster && !r.Destroyed {
			list = append(list, r.instance())
		}
	}
	return list, nil
}

// exited notes that an instance has ended by itself. d.mu must be held.
func (d *driver) exited(r *record, cause error) error {
	ended := *r
	ended.Exit = &sdk.Exit{Code: 1, Message: cause.Error(), At: time.Now().UTC()}
	if err := d.store.write(&ended); err != nil {
		return err
	}
	d.tell(ended.instance())
	return nil
}

// Logs is not supported, and Describe does not promise it.
func (d *driver) Logs(context.Context, string, sdk.LogOptions, func(sdk.LogLine) error) error {
	return sdk.Unsupported("the instances of this driver write no logs")
}

// Usage is not supported, and Describe does not promise it.
func (d *driver) Usage(context.Context, time.Duration, func([]sdk.Usage) error) error {
	return sdk.Unsupported("the instances of this driver share one process")
}
