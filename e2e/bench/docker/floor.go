package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"

	"github.com/instarhq/instar/plugins/compute/docker/dockertest"
)

// floor makes the calls that a replacement consists of, and nothing else: no health checks, no records.
type floor struct {
	engine *dockertest.Engine
	image  string
	ids    []string
	made   int
}

func (f *floor) prepare(ctx context.Context, n int) (err error) {
	f.ids, err = f.make(ctx, n)
	return err
}

func (f *floor) clear(ctx context.Context) error {
	err := f.remove(ctx, f.ids)
	f.ids = nil
	return err
}

func (f *floor) replace(ctx context.Context, n int, v variant) (time.Duration, error) {
	began := time.Now()
	if v.surge > 0 {
		err := f.roll(ctx, n, v.surge)
		return time.Since(began), err
	}
	fresh, err := f.make(ctx, n)
	if err == nil {
		err = f.remove(ctx, f.ids)
	}
	f.ids = fresh
	return time.Since(began), err
}

func (f *floor) make(ctx context.Context, n int) ([]string, error) {
	ids := make([]string, n)
	err := each(n, creates, func(i int) (err error) {
		ids[i], err = f.one(ctx, i)
		return err
	})
	f.made += n
	return ids, err
}

func (f *floor) remove(ctx context.Context, ids []string) error {
	return each(len(ids), len(ids), func(i int) error { return f.end(ctx, ids[i]) })
}

// one makes and starts a container such as the driver makes them.
func (f *floor) one(ctx context.Context, i int) (string, error) {
	seconds := int(grace.Seconds())
	listen, _ := network.PortFrom(port, network.TCP)
	made, err := f.engine.API.ContainerCreate(ctx, client.ContainerCreateOptions{
		Name: fmt.Sprintf("floor-%d", f.made+i),
		Config: &container.Config{
			Image: f.image, StopTimeout: &seconds, ExposedPorts: network.PortSet{listen: {}},
			Labels:      map[string]string{"floor": "true"},
			Healthcheck: &container.HealthConfig{Test: []string{"NONE"}},
		},
		HostConfig: &container.HostConfig{
			SecurityOpt:  []string{"no-new-privileges"},
			PortBindings: network.PortMap{listen: {{HostIP: netip.MustParseAddr(f.engine.Address)}}},
		},
	})
	if err != nil {
		return "", err
	}
	_, err = f.engine.API.ContainerStart(ctx, made.ID, client.ContainerStartOptions{})
	return made.ID, err
}

func (f *floor) end(ctx context.Context, id string) error {
	seconds := int(grace.Seconds())
	if _, err := f.engine.API.ContainerStop(ctx, id, client.ContainerStopOptions{Timeout: &seconds}); err != nil {
		return err
	}
	_, err := f.engine.API.ContainerRemove(ctx, id, client.ContainerRemoveOptions{Force: true, RemoveVolumes: true})
	return err
}

// each calls do for 0 to n-1, some at a time.
func each(n, concurrency int, do func(i int) error) error {
	errs := make([]error, n)
	slots := make(chan struct{}, max(concurrency, 1))
	var group sync.WaitGroup
	for i := range n {
		slots <- struct{}{}
		group.Go(func() {
			defer func() { <-slots }()
			errs[i] = do(i)
		})
	}
	group.Wait()
	return errors.Join(errs...)
}
