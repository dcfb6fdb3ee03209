package docker_test

import (
	"context"
	"sync"
	"time"

	"github.com/moby/moby/client"

	"github.com/instarhq/instar/plugins/compute/docker/dockertest"
	"github.com/instarhq/instar/sdk"
)

// witnessed is a driver whose exits are dated when the engine has them to tell, as somebody sees who asks it past the
// driver all the time: from a program's end until then it takes a busy engine seconds, for which no driver can do anything.
type witnessed struct {
	sdk.Compute
	engine *dockertest.Engine

	mu   sync.Mutex
	told map[string]time.Time // by instance
}

// Create implements sdk.Compute.
func (w *witnessed) Create(ctx context.Context, spec sdk.InstanceSpec) (sdk.Instance, error) {
	i, err := w.Compute.Create(ctx, spec)
	if err == nil {
		go w.witness(context.WithoutCancel(ctx), spec)
	}
	return i, err
}

// witness asks until the instance has exited, or is gone.
func (w *witnessed) witness(ctx context.Context, spec sdk.InstanceSpec) {
	filters := client.Filters{}.Add("label", "instar.cluster="+spec.Cluster, "instar.instance="+spec.ID)
	list, err := w.engine.API.ContainerList(ctx, client.ContainerListOptions{All: true, Filters: filters})
	for err == nil && len(list.Items) == 1 {
		var c client.ContainerInspectResult
		c, err = w.engine.API.ContainerInspect(ctx, list.Items[0].ID, client.ContainerInspectOptions{})
		if err == nil && !c.Container.State.Running {
			w.mu.Lock()
			w.told[spec.ID] = time.Now()
			w.mu.Unlock()
			return
		}
		pause := time.NewTimer(5 * time.Millisecond)
		<-pause.C
	}
}

// Watch implements sdk.Compute.
func (w *witnessed) Watch(ctx context.Context, event func(sdk.Instance) error) error {
	return w.Compute.Watch(ctx, func(i sdk.Instance) error {
		if i.Exit != nil && !i.Exit.At.IsZero() {
			exit := *i.Exit
			w.mu.Lock()
			told, seen := w.told[i.ID]
			w.mu.Unlock()
			if exit.At = told; !seen {
				exit.At = time.Now() // the driver has heard of it first
			}
			i.Exit = &exit
		}
		return event(i)
	})
}
