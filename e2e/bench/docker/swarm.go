package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/swarm"
	"github.com/moby/moby/client"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/plugins/compute/docker/dockertest"
)

// poll is how often a swarm is asked how far it is.
const poll = 50 * time.Millisecond

// swarmService is a service of a one-node swarm.
type swarmService struct {
	engine  *dockertest.Engine
	image   string
	name    string
	checked bool
	version int
}

// swarmNode is the swarm.
type swarmNode struct {
	engine *dockertest.Engine
	image  string
}

func joinSwarm(ctx context.Context, engine *dockertest.Engine, image string) (*swarmNode, error) {
	_, err := engine.API.SwarmInit(ctx, client.SwarmInitOptions{ListenAddr: engine.Address + ":2377", AdvertiseAddr: engine.Address})
	if err != nil {
		return nil, fmt.Errorf("begin a swarm: %w", err)
	}
	return &swarmNode{engine, image}, nil
}

func (s *swarmNode) with(name string, checked bool) *swarmService {
	return &swarmService{engine: s.engine, image: s.image, name: name, checked: checked}
}

// spec is the service as the present version has it.
func (s *swarmService) spec(n int, v variant) swarm.ServiceSpec {
	replicas, patience := uint64(n), grace //nolint:gosec // a number of containers
	check := &container.HealthConfig{Test: []string{"NONE"}}
	if s.checked {
		check = &container.HealthConfig{
			Test:     []string{"CMD", "wget", "-q", "-O", "/dev/null", fmt.Sprintf("http://127.0.0.1:%d/healthz", port)},
			Interval: interval, Timeout: interval, Retries: 3,
		}
	}
	// Old ones go when the new ones serve. All at a time is what blue_green does.
	parallelism := uint64(v.parallelism(n)) //nolint:gosec // a number of containers
	update := &swarm.UpdateConfig{Parallelism: parallelism, Order: swarm.UpdateOrderStartFirst, FailureAction: swarm.UpdateFailureActionPause, Monitor: time.Nanosecond}
	return swarm.ServiceSpec{
		Annotations: swarm.Annotations{Name: s.name},
		TaskTemplate: swarm.TaskSpec{ContainerSpec: &swarm.ContainerSpec{
			Image: s.image, Env: []string{"SHOP_VERSION=" + strconv.Itoa(s.version)}, StopGracePeriod: &patience, Healthcheck: check,
			Labels: map[string]string{"version": strconv.Itoa(s.version)},
		}},
		Mode:         swarm.ServiceMode{Replicated: &swarm.ReplicatedService{Replicas: &replicas}},
		UpdateConfig: update,
		// Published on the node, as instar does; the ingress network would cost more.
		EndpointSpec: &swarm.EndpointSpec{Ports: []swarm.PortConfig{{TargetPort: port, PublishMode: swarm.PortConfigPublishModeHost}}},
	}
}

func (s *swarmService) prepare(ctx context.Context, n int) error {
	s.version++
	if _, err := s.engine.API.ServiceCreate(ctx, client.ServiceCreateOptions{Spec: s.spec(n, variant{strategy: core.StrategyBlueGreen})}); err != nil {
		return fmt.Errorf("make the swarm's service: %w", err)
	}
	return s.settled(ctx, n)
}

func (s *swarmService) clear(ctx context.Context) error {
	if _, err := s.engine.API.ServiceRemove(ctx, s.name, client.ServiceRemoveOptions{}); err != nil {
		return err
	}
	return s.settled(ctx, 0)
}

func (s *swarmService) replace(ctx context.Context, n int, v variant) (time.Duration, error) {
	s.version++
	began := time.Now()
	if err := s.update(ctx, n, v); err != nil {
		return 0, err
	}
	err := s.settled(ctx, n)
	return time.Since(began), err
}

func (s *swarmService) update(ctx context.Context, n int, v variant) error {
	now, err := s.engine.API.ServiceInspect(ctx, s.name, client.ServiceInspectOptions{})
	if err != nil {
		return err
	}
	_, err = s.engine.API.ServiceUpdate(ctx, s.name, client.ServiceUpdateOptions{Version: now.Service.Version, Spec: s.spec(n, v)})
	return err
}

// settled waits until n containers of the present version run, healthy if they are checked, and no other
// container of the service is there but stopped ones, which a swarm keeps as its history.
func (s *swarmService) settled(ctx context.Context, n int) error {
	tick := time.NewTicker(poll)
	defer tick.Stop()
	for {
		list, err := s.engine.API.ContainerList(ctx, client.ContainerListOptions{
			Filters: client.Filters{}.Add("label", "com.docker.swarm.service.name="+s.name),
		})
		if err != nil {
			return err
		}
		fresh, others := 0, 0
		for _, c := range list.Items {
			healthy := !s.checked || strings.Contains(c.Status, "(healthy)") // older engines say it nowhere else
			switch {
			case c.Labels["version"] != strconv.Itoa(s.version):
				others++
			case healthy:
				fresh++
			}
		}
		if others == 0 && fresh == n && len(list.Items) == n {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("the swarm has %d new and %d old containers: %w", fresh, others, ctx.Err())
		}
	}
}
