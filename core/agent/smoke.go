package agent

import (
	"context"
	"fmt"
	"time"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/agent/smoke"
	"github.com/instarhq/instar/core/state"
)

// smokeJob is what a target has to check for one rollout.
type smokeJob struct {
	rollout core.Rollout
	target  targetKey
	checks  []smoke.Check
}

func (j *smokeJob) id(node string) string {
	return core.CheckID(j.rollout.ID(), node, j.target.driver, j.target.name)
}

// syncSmoke starts the smoke checks that a service's rollout waits for, as soon as the previews that
// they go through are in effect, and ends those that nobody waits for.
func (a *Agent) syncSmoke(ctx context.Context, service string) {
	a.smokeSync.Lock() // or an older view could end what a newer one began
	defer a.smokeSync.Unlock()
	view := a.cfg.State.View()
	var jobs []smokeJob
	var rollout core.Rollout
	if svc, ok := state.Services.Get(view, service); ok {
		rollout, _ = state.Rollouts.Get(view, core.RolloutID(service, svc.Rollouts))
		jobs = a.smokeJobs(view, &rollout)
	}
	wanted := map[string]bool{}
	for i := range jobs {
		id := jobs[i].id(a.cfg.Node)
		wanted[id] = true
		if _, done := state.Checks.Get(view, id); !done {
			a.startSmoke(ctx, id, jobs[i])
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for id, running := range a.smokes {
		if running.service == service && !wanted[id] {
			running.cancel()
			delete(a.smokes, id)
		}
	}
}

// smokeJobs are the jobs of this node whose previews are all in effect.
func (a *Agent) smokeJobs(view *state.View, rollout *core.Rollout) []smokeJob {
	if rollout.Phase != core.RolloutVerifying || rollout.Kind == core.RolloutRollback {
		return nil
	}
	revision, ok := state.Revisions.Get(view, core.RevisionID(rollout.Service, rollout.To))
	if !ok {
		return nil
	}
	var jobs []smokeJob
	for _, target := range a.targetsOf(&revision.Spec) {
		job := smokeJob{rollout: *rollout, target: target}
		ready := true
		for _, check := range revision.Spec.Rollout.Smoke {
			route, ok := state.Routes.Get(view, check.Route)
			if ok && !carries(target, &route.Spec) {
				continue // another target's
			}
			if !ok || !a.previews(target, &route, rollout.To) {
				ready = false
				break
			}
			job.checks = append(job.checks, smoke.Check{SmokeCheck: check, Route: route.Spec, Revision: rollout.To})
		}
		if ready && len(job.checks) > 0 {
			jobs = append(jobs, job)
		}
	}
	return jobs
}

// targetsOf are this node's traffic targets that carry any route of a revision.
func (a *Agent) targetsOf(spec *core.Spec) []targetKey {
	var out []targetKey
	seen := map[targetKey]bool{}
	for i := range spec.Routes {
		for _, key := range a.trafficTargets(&spec.Routes[i]) {
			if !seen[key] {
				seen[key] = true
				out = append(out, key)
			}
		}
	}
	return out
}

func carries(target targetKey, spec *core.RouteSpec) bool {
	return spec.Driver == target.driver && (spec.Target == "" || spec.Target == target.name)
}

// previews reports whether the target has the route's newest generation in effect, with a preview of
// the revision that somebody answers.
func (a *Agent) previews(target targetKey, route *core.Route, revision int) bool {
	a.mu.Lock()
	c, ok := a.carriers[carrierKey{target, route.Name}]
	a.mu.Unlock()
	if !ok || c.confirmed.Load() != route.Generation {
		return false
	}
	for i := range route.Pools {
		if p := &route.Pools[i]; p.Revision == revision {
			return p.Preview && len(p.Endpoints) > 0
		}
	}
	return false
}

// smokeRun is a job that is under way, or done and still waited for: the outcome may not be in the
// store yet.
type smokeRun struct {
	service string
	cancel  context.CancelFunc
}

func (a *Agent) startSmoke(ctx context.Context, id string, job smokeJob) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, running := a.smokes[id]; running {
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	a.smokes[id] = smokeRun{job.rollout.Service, cancel}
	a.group.Go(func() {
		defer cancel()
		a.runSmoke(ctx, id, job)
	})
}

// runSmoke performs the checks of a job and reports the outcome once it is final.
func (a *Agent) runSmoke(ctx context.Context, id string, job smokeJob) {
	check := core.Check{
		Format: core.Format, Rollout: job.rollout.ID(), Service: job.rollout.Service,
		Node: a.cfg.Node, Driver: job.target.driver, Target: job.target.name, Total: len(job.checks),
	}
	for i := range job.checks {
		if err := smoke.Run(ctx, &job.checks[i]); err != nil {
			check.Failure = fmt.Sprintf("smoke check %d of %d: %v", i+1, check.Total, err)
			break
		}
		check.Passed++
	}
	if ctx.Err() != nil {
		return
	}
	check.At = time.Now().UTC()
	a.log.Info("smoke checks done", "rollout", check.Rollout, "passed", check.Passed, "total", check.Total, "failure", check.Failure)
	publish(a, state.Checks, core.KindCheck, id, check)
}
