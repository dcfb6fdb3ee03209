package agent

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/recovery"
	"github.com/instarhq/instar/core/state"
)

const (
	pruneEvery = time.Hour
	// settleFor is how long after an instance's end artifacts are pruned: what ends together is pruned
	// once, and a quick way back finds its artifact still there.
	settleFor = time.Minute
)

// artifactsSettled notes that an artifact may have lost its last instance.
func (a *Agent) artifactsSettled() {
	select {
	case a.settled <- struct{}{}:
	default:
	}
}

// runPrune removes artifacts that nothing needs any more, hourly and after instances have gone.
func (a *Agent) runPrune(ctx context.Context) {
	timer := time.NewTimer(pruneEvery)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-a.settled:
			timer.Reset(settleFor)
		case <-timer.C:
			a.prune(ctx)
			timer.Reset(pruneEvery)
		}
	}
}

func (a *Agent) prune(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	if err := a.cfg.Current(ctx); err != nil {
		a.log.Debug("artifacts are not pruned: the view may be old", "error", err)
		return
	}
	if recovery.Looking(a.cfg.State.View()) {
		return
	}
	keep := neededArtifacts(a.cfg.State.View())
	a.mu.Lock()
	computes := slices.Collect(maps.Values(a.computes))
	a.mu.Unlock()
	for _, c := range computes {
		driver, err := c.driver()
		if err != nil || c.acting() == nil {
			continue
		}
		freed, err := driver.Prune(ctx, keep[c.key.driver])
		c.fetches.forget("")
		switch {
		case err != nil:
			c.log.Warn("cannot prune artifacts", "error", err)
		case freed > 0:
			c.log.Info("pruned artifacts", "freed_bytes", freed)
		}
	}
}

// neededArtifacts lists, by driver, the digests of Artifacts.
func neededArtifacts(view *state.View) map[string][]string {
	out := map[string][]string{}
	for driver, artifacts := range Artifacts(view) {
		for _, digest := range slices.Sorted(maps.Keys(artifacts)) {
			out[driver] = append(out[driver], string(digest))
		}
	}
	return out
}

// Artifacts gives, by driver and digest, the artifacts that a service may need again soon: of what it
// serves, is to serve, can go back to at once, and of everything that still runs.
func Artifacts(view *state.View) map[string]map[core.Digest]core.Artifact {
	needed := map[string]map[core.Digest]core.Artifact{}
	need := func(service string, revision int) {
		r, ok := state.Revisions.Get(view, core.RevisionID(service, revision))
		if !ok || r.Spec.Artifact.Digest == "" {
			return
		}
		if needed[r.Spec.Compute.Driver] == nil {
			needed[r.Spec.Compute.Driver] = map[core.Digest]core.Artifact{}
		}
		needed[r.Spec.Compute.Driver][r.Spec.Artifact.Digest] = r.Spec.Artifact
	}
	for name, svc := range state.Services.All(view) {
		need(name, svc.Revision)
		need(name, svc.Active)
		need(name, svc.Previous)
		if r, ok := state.Rollouts.Get(view, core.RolloutID(name, svc.Rollouts)); ok && !r.Phase.Over() {
			need(name, r.From)
			need(name, r.To)
		}
	}
	for _, inst := range state.Instances.All(view) {
		need(inst.Service, inst.Revision)
	}
	return needed
}
