package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/driverhost"
	"github.com/instarhq/instar/core/recovery"
	"github.com/instarhq/instar/core/state"
	"github.com/instarhq/instar/sdk"
)

// unavailableFor is how long an instance is tried to be made while its driver or backend cannot be
// reached, before that counts as its failure.
const unavailableFor = 2 * time.Minute

// create makes the instance. When it returns, the status is running or failed, or nothing is there and
// nothing is wanted any more, or ctx has ended.
func (l *life) create(ctx context.Context) {
	began := time.Now()
	var slow func() bool // ends the report that it takes a while; nil: there is none
	defer func() {
		if slow != nil {
			slow()
		}
	}()
	retry := backoff{first: 200 * time.Millisecond, last: 10 * time.Second}
	for {
		var made sdk.Instance
		var err error
		if l.instance().Desired == core.DesiredRun {
			made, err = l.make(ctx)
		} else if made, err = l.find(ctx); sdk.CodeOf(err) == sdk.CodeNotFound {
			return
		}
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			l.made(ctx, made)
			return
		case errors.Is(err, errNotWanted):
			if !retry.wait(ctx, err) { // the news is on its way, and ends this
				return
			}
		case errors.As(err, new(*staleError)):
			began = time.Now() // the driver has not been asked
			if !retry.wait(ctx, err) {
				return
			}
		case sdk.CodeOf(err) == sdk.CodeUnavailable && time.Since(began) < unavailableFor:
			if slow == nil {
				l.log.Warn("cannot make the instance yet, trying again", "error", err)
				slow = l.slowly(core.InstanceCreating)
			}
			if !retry.wait(ctx, err) {
				return
			}
		default:
			l.fail(ctx, core.InstanceFailed, failureOf(err))
			return
		}
	}
}

// make asks the driver once.
func (l *life) make(ctx context.Context) (sdk.Instance, error) {
	spec, err := l.spec()
	if err != nil {
		return sdk.Instance{}, err
	}
	driver, err := l.compute.driver()
	if err != nil {
		return sdk.Instance{}, sdk.Unavailable(0, "%w", err)
	}
	if spec.Artifact.Digest != "" {
		stop := l.slowly(core.InstanceCreating)
		err := l.compute.fetch(ctx, driver, spec.Artifact, l.fetching)
		stop()
		if err != nil {
			return sdk.Instance{}, fmt.Errorf("fetch %s: %w", artifactName(spec.Artifact), err)
		}
	}
	select {
	case l.compute.creates <- struct{}{}:
		defer func() { <-l.compute.creates }()
	case <-ctx.Done():
		return sdk.Instance{}, ctx.Err()
	}
	if err := l.stillWanted(ctx); err != nil {
		return sdk.Instance{}, err
	}
	defer l.slowly(core.InstanceCreating)() // the wait for a slot is not the driver's
	made, err := driver.Create(ctx, spec)
	if err != nil {
		l.compute.fetches.forget(spec.Artifact.Digest) // it may have been removed meanwhile
	}
	return made, err
}

// find looks for an instance that is on its way out already: a daemon that died may have made it.
func (l *life) find(ctx context.Context) (sdk.Instance, error) {
	driver, err := l.compute.driver()
	if err != nil {
		return sdk.Instance{}, sdk.Unavailable(0, "%w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return driver.Inspect(ctx, l.id)
}

// made reports what the driver made; the instance may have ended already.
func (l *life) made(ctx context.Context, made sdk.Instance) {
	if made.State == sdk.StateExited {
		l.fail(ctx, core.InstanceFailed, core.Failure{Message: exitMessage(made.Exit)})
		return
	}
	l.advance(core.InstanceRunning, func(s *core.InstanceStatus) {
		s.Addresses, s.Fingerprint = made.Addresses, made.Fingerprint
	})
}

// spec puts together what the driver needs, from the store alone.
func (l *life) spec() (sdk.InstanceSpec, error) {
	inst := l.instance()
	view := l.agent.cfg.State.View()
	if recovery.Looking(view) {
		return sdk.InstanceSpec{}, sdk.Unavailable(0, "the cluster has been restored and waits for its recovery's approval")
	}
	revision, err := state.Revisions.Find(view, core.RevisionID(inst.Service, inst.Revision))
	if err != nil {
		return sdk.InstanceSpec{}, sdk.NotFound("%w", err)
	}
	configs := map[core.Digest][]byte{}
	for _, m := range revision.Spec.Mounts {
		if config, ok := state.Configs.Get(view, core.ConfigID(m.Config, m.Digest)); ok {
			configs[m.Digest] = config.Data
		}
	}
	spec, err := driverhost.InstanceSpec(l.agent.cfg.Cluster, l.agent.cfg.Generation, inst, revision, configs)
	if err != nil {
		return sdk.InstanceSpec{}, sdk.NotFound("%w", err)
	}
	return spec, nil
}

func artifactName(a sdk.Artifact) string {
	if a.Source != "" {
		return a.Source
	}
	return a.Digest
}
