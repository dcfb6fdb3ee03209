package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/api/client"
	"github.com/instarhq/instar/e2e/node"
	"github.com/instarhq/instar/plugins/compute/docker/dockertest"
)

// instar is an instard with the docker driver.
type instar struct {
	dir     string
	node    *node.Node
	image   string
	version int
}

func startInstar(ctx context.Context, engine *dockertest.Engine, image string) (b *instar, err error) {
	repository, err := node.Repository()
	if err != nil {
		return nil, err
	}
	b = &instar{image: image}
	if b.dir, err = node.TempDir(); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.close())
		}
	}()
	config := filepath.Join(b.dir, "instard.hcl")
	text := fmt.Sprintf("node { name = \"n1\" }\nlog { level = \"warn\" }\ncompute \"docker\" \"local\" {\n  endpoint = %q\n  address = %q\n}\n",
		engine.Endpoint, engine.Address)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return nil, err
	}
	b.node, err = node.Start(ctx, node.Options{Bin: filepath.Join(repository, "build/bin"), DataDir: filepath.Join(b.dir, "d"), Config: config})
	return b, err
}

func (b *instar) close() error {
	var err error
	if b.node != nil {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		err = b.node.Teardown(ctx)
	}
	return errors.Join(err, os.RemoveAll(b.dir))
}

func (b *instar) prepare(ctx context.Context, n int) error {
	return b.apply(ctx, n, variant{strategy: core.StrategyBlueGreen})
}

func (b *instar) clear(ctx context.Context) error {
	return b.apply(ctx, 0, variant{strategy: core.StrategyBlueGreen})
}

func (b *instar) replace(ctx context.Context, n int, v variant) (time.Duration, error) {
	began := time.Now()
	err := b.apply(ctx, n, v)
	return time.Since(began), err
}

// apply deploys the next revision and waits until nothing is left of the one before.
func (b *instar) apply(ctx context.Context, n int, v variant) error {
	b.version++
	spec := core.Spec{
		Compute: core.Compute{Driver: "docker"}, Artifact: core.Artifact{Source: b.image},
		Ports: []core.Port{{Name: "http", Number: port}},
		Env:   map[string]string{"SHOP_VERSION": strconv.Itoa(b.version)},
		Health: []core.HealthCheck{{
			Type: core.CheckHTTP, Port: "http", Path: "/healthz", Interval: core.Duration(interval), Timeout: core.Duration(interval),
			HealthyFor: core.Duration(time.Millisecond), Failures: 3,
		}},
		Rollout: v.rollout(),
		Grace:   core.Duration(grace),
	}
	set := core.Set{Services: []core.Declared{{Name: "bench", Count: n, Spec: spec}}}
	applied, err := b.node.API.Apply(ctx, client.Write{}, set, nil)
	if err != nil {
		return err
	}
	for _, id := range applied.Rollouts {
		if err := b.over(ctx, id, applied.Receipt.Seq); err != nil {
			return err
		}
	}
	return b.has(ctx, n)
}

// over follows the log until the rollout has ended.
func (b *instar) over(ctx context.Context, id string, after uint64) error {
	for event, err := range b.node.API.Watch(ctx, client.Watch{After: after - 1, Kinds: []core.Kind{core.KindRollout}}) {
		if err != nil {
			return fmt.Errorf("rollout %s: %w", id, err)
		}
		var rollout core.Rollout
		if event.Kind == "" || event.ID != id {
			continue
		}
		if err := json.Unmarshal(event.Object, &rollout); err != nil {
			return err
		}
		switch {
		case rollout.Phase == core.RolloutSucceeded:
			return nil
		case rollout.Phase.Over():
			return fmt.Errorf("rollout %s is %s: %+v", id, rollout.Phase, rollout.Failure)
		}
	}
	return fmt.Errorf("rollout %s: %w", id, ctx.Err())
}

// has waits until the service has n instances, of one revision.
func (b *instar) has(ctx context.Context, n int) error {
	tick := time.NewTicker(poll)
	defer tick.Stop()
	for {
		page, err := b.node.API.Instances(ctx, client.List{Service: "bench", Limit: 1000})
		if err != nil {
			return err
		}
		revisions := map[int]bool{}
		for _, v := range page.Items {
			revisions[v.Instance.Revision] = true
		}
		if len(page.Items) == n && len(revisions) <= 1 {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("there are %d instances of %d revisions: %w", len(page.Items), len(revisions), ctx.Err())
		}
	}
}
