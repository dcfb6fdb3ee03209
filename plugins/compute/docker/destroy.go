package docker

import (
	"context"
	"errors"
	"strings"
	"syscall"
	"time"

	"github.com/moby/moby/client"

	"github.com/instarhq/instar/plugins/durable"
	"github.com/instarhq/instar/sdk"
)

// briefly is the pause between two looks at something that is about to change.
const briefly = 20 * time.Millisecond

// triesWhileBusy is how often the engine is asked again to remove a container whose file system is still in use.
const triesWhileBusy = 10

// destroy is Destroy. Also an id that is not known is buried: the Create that it belongs to may still be on
// its way.
func (t *target) destroy(ctx context.Context, id string, grace time.Duration) error {
	if checkID(id) != nil {
		return nil // no instance can have it
	}
	unlock, err := t.work.Lock(ctx, id)
	if err != nil {
		return err
	}
	defer unlock()
	full := t.bury(id)
	if full != nil && !errors.Is(full, syscall.ENOSPC) {
		return durable.Explain(full, t.dir)
	}
	crash("buried")
	c, err := t.find(ctx, id)
	switch {
	case err == nil:
		err = t.end(ctx, c, id, grace)
	case sdk.CodeOf(err) == sdk.CodeNotFound:
		err = nil
	}
	if err != nil {
		return err
	}
	crash("removed")
	if err := t.forget(id); err != nil {
		return durable.Explain(err, t.dir)
	}
	if full != nil {
		return durable.Explain(t.bury(id), t.dir) // there is room now
	}
	return nil
}

// end asks the instance to stop, and removes its container. The engine kills what is left after the grace
// period.
func (t *target) end(ctx context.Context, c found, id string, grace time.Duration) error {
	if c.State.Running && grace > 0 {
		seconds := wholeSeconds(grace)
		err := t.engine.ask(ctx, grace+makeFor, "stop instance "+id, func(ctx context.Context, api *client.Client) error {
			_, err := api.ContainerStop(ctx, c.ID, client.ContainerStopOptions{Timeout: &seconds})
			return err
		})
		if err != nil && sdk.CodeOf(err) != sdk.CodeNotFound {
			return err
		}
	}
	crash("stopped")
	if err := t.remove(ctx, c.ID, id); err != nil {
		return err
	}
	t.publishGone(c.ID) // whoever watches need not wait for the engine to say it, too
	return nil
}

// remove kills what runs in a container and removes it with its anonymous volumes. It returns when it is gone,
// also if somebody else removes it.
func (t *target) remove(ctx context.Context, container, id string) error {
	for busy := 0; ; {
		err := t.engine.ask(ctx, makeFor, "remove instance "+id, func(ctx context.Context, api *client.Client) error {
			_, err := api.ContainerRemove(ctx, container, client.ContainerRemoveOptions{Force: true, RemoveVolumes: true})
			return err
		})
		switch sdk.CodeOf(err) {
		case "", sdk.CodeNotFound:
			return nil
		case sdk.CodeConflict: // being removed by somebody else
		default:
			// An engine under load finds the layers of what has just ended still in use.
			if busy++; busy > triesWhileBusy || !strings.Contains(err.Error(), "failed to remove root filesystem") {
				return err
			}
		}
		if _, err := t.inspect(ctx, container); sdk.CodeOf(err) == sdk.CodeNotFound {
			return nil
		}
		if err := pause(ctx, briefly); err != nil {
			return err
		}
	}
}
