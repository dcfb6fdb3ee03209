package docker

import (
	"context"
	"errors"
	"io/fs"
	"strings"

	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"

	"github.com/instarhq/instar/plugins/durable"
	"github.com/instarhq/instar/sdk"
)

// crash is called between the steps of Create and Destroy; tests end the process there.
var crash = func(string) {}

// create is Create: it finds the instance, or makes its container and starts it.
func (t *target) create(ctx context.Context, spec sdk.InstanceSpec) (sdk.Instance, error) {
	p, err := t.plan(spec)
	if err != nil {
		return sdk.Instance{}, err
	}
	unlock, err := t.work.Lock(ctx, spec.ID)
	if err != nil {
		return sdk.Instance{}, err
	}
	defer unlock()
	if t.isBuried(spec.ID) {
		return sdk.Instance{}, sdk.Conflict("instance %s was destroyed; a new one needs a new id", spec.ID)
	}
	c, err := t.ensure(ctx, p)
	if err != nil {
		return sdk.Instance{}, durable.Explain(err, t.dir)
	}
	if err := t.note(c, p); err != nil {
		return sdk.Instance{}, durable.Explain(err, t.dir)
	}
	return t.read(ctx, c)
}

// ensure returns the container that runs the instance, or has. The request of a call that was cut off may still
// be under way in the engine, and come true between two looks.
func (t *target) ensure(ctx context.Context, p plan) (found, error) {
	for {
		c, there, err := t.earlier(ctx, p)
		if err != nil || there {
			return c, err
		}
		c, err = t.make(ctx, p)
		if sdk.CodeOf(err) != sdk.CodeConflict {
			return c, err
		}
		if err := pause(ctx, briefly); err != nil {
			return found{}, err
		}
	}
}

// earlier returns the container that an earlier Create has started. One that was made and never started is
// removed: nothing has run in it, and what it lacks is not known.
func (t *target) earlier(ctx context.Context, p plan) (found, bool, error) {
	for {
		c, err := t.inspect(ctx, p.body.Name)
		if sdk.CodeOf(err) == sdk.CodeNotFound {
			return found{}, false, nil
		}
		if err != nil {
			return found{}, false, err
		}
		if labels := c.Config.Labels; !t.isOurs(c.ID, c.Name, labels) || labels[labelInstance] != p.spec.ID || labels[labelCluster] != p.spec.Cluster {
			return found{}, false, sdk.Conflict("a container with the name %s is in the way, and it is none of this driver's", p.body.Name)
		}
		if has := c.Config.Labels[labelDigest]; has != p.spec.RevisionDigest {
			return found{}, false, sdk.Conflict("instance %s exists with revision %s, not %s", p.spec.ID, has, p.spec.RevisionDigest)
		}
		if !neverStarted(c) {
			return c, true, nil
		}
		if err := t.discard(ctx, c.ID); err != nil {
			return found{}, false, err
		}
	}
}

// discard removes a container that was never started. The engine refuses if it has been started meanwhile, by a
// call whose answer was lost; then it stays.
func (t *target) discard(ctx context.Context, container string) error {
	err := t.engine.ask(ctx, makeFor, "remove the container "+container+", which was never started", func(ctx context.Context, api *client.Client) error {
		_, err := api.ContainerRemove(ctx, container, client.ContainerRemoveOptions{RemoveVolumes: true})
		return err
	})
	switch sdk.CodeOf(err) {
	case sdk.CodeNotFound:
		return nil
	case sdk.CodeConflict: // started, or being removed by somebody else
		return pause(ctx, briefly)
	}
	return err
}

// make makes the container and starts it. What does not come to run leaves nothing.
func (t *target) make(ctx context.Context, p plan) (found, error) {
	t.images.RLock()
	defer t.images.RUnlock()
	image, err := t.fetch(ctx, p.spec.Artifact, nil)
	if err != nil {
		return found{}, err
	}
	p.body.Config.Image = image
	if err := t.writeMounts(p); err != nil {
		return found{}, err
	}
	crash("mounted")
	id, err := t.makeContainer(ctx, p)
	if err == nil {
		crash("created")
		err = t.prepare(ctx, id, p)
	}
	if err == nil {
		crash("prepared")
		err = t.start(ctx, id, p)
	}
	crash("started")
	var c found
	if err == nil {
		c, err = t.inspect(ctx, id)
	}
	if err != nil {
		return found{}, t.tidy(ctx, p, err)
	}
	return c, nil
}

func (t *target) makeContainer(ctx context.Context, p plan) (id string, err error) {
	err = t.engine.ask(ctx, makeFor, "create container "+p.body.Name, func(ctx context.Context, api *client.Client) error {
		made, err := api.ContainerCreate(ctx, p.body)
		id = made.ID
		return err
	})
	return id, explainCreate(err)
}

// prepare does what an engine of any version can only do between create and start.
func (t *target) prepare(ctx context.Context, id string, p plan) error {
	for n, name := range p.cfg.Networks {
		if n == 0 {
			continue
		}
		err := t.engine.ask(ctx, makeFor, "connect "+p.body.Name+" to network "+name, func(ctx context.Context, api *client.Client) error {
			_, err := api.NetworkConnect(ctx, name, client.NetworkConnectOptions{Container: id, EndpointConfig: &network.EndpointSettings{}})
			return err
		})
		if err != nil {
			return explainNetwork(n, err)
		}
	}
	return t.copyMounts(ctx, id, p)
}

// misread is what dockerd says before it has started anything, when a busy containerd gives it half of what it keeps
// of a large container. The next reading is right.
const (
	misread      = "failed to retrieve spec: unexpected EOF"
	mostMisreads = 3
)

func (t *target) start(ctx context.Context, id string, p plan) error {
	for n := 1; ; n++ {
		err := t.engine.ask(ctx, makeFor, "start container "+p.body.Name, func(ctx context.Context, api *client.Client) error {
			_, err := api.ContainerStart(ctx, id, client.ContainerStartOptions{})
			return err
		})
		if n == mostMisreads || err == nil || !strings.Contains(err.Error(), misread) {
			return explainStart(err, p.cfg.Networks)
		}
		t.logger.Info("the engine has misread the container, starting it again", "instance", p.spec.ID, "error", err)
		if err := pause(ctx, briefly); err != nil {
			return err
		}
	}
}

// tidy removes what a Create that failed has left, unless it runs: then only the answer was lost, and the next
// Create finds it. The error is the caller's, whatever becomes of tidying up; the next Create or Configure
// removes what is left of it.
func (t *target) tidy(ctx context.Context, p plan, failure error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), afterwards)
	defer cancel()
	c, there, err := t.earlier(ctx, p)
	if err != nil {
		t.logger.Warn("cannot remove what a failed create has left, trying again later", "instance", p.spec.ID, "error", err)
		return failure
	}
	if there {
		// A container whose start failed for good may have the state exited.
		if sdk.CodeOf(failure) == sdk.CodeUnavailable || ctxEnded(failure) || c.State.Running {
			return failure
		}
		if err := t.remove(ctx, c.ID, p.spec.ID); err != nil {
			t.logger.Warn("cannot remove what a failed create has left", "instance", p.spec.ID, "error", err)
			return failure
		}
	}
	return errors.Join(failure, t.forget(p.spec.ID))
}

func ctxEnded(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// note keeps what the engine does not: it is written by the first Create that comes to its end.
func (t *target) note(c found, p plan) error {
	t.records.Lock()
	defer t.records.Unlock()
	r, err := t.readRecord(p.spec.ID)
	if err == nil && r.Container == c.ID {
		return nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return t.writeRecord(record{
		ID: p.spec.ID, Cluster: p.spec.Cluster, Container: c.ID, Addresses: t.addressesOf(c), Mounts: p.mountRecords(),
	})
}
