package control

import (
	"context"
	"slices"
	"strings"

	"golang.org/x/mod/semver"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/spec"
	"github.com/instarhq/instar/core/state"
)

// Plan says what applying set would do. It writes nothing.
func (o *Operations) Plan(ctx context.Context, set core.Set) (core.Plan, error) {
	set, err := o.admit(ctx, set)
	if err != nil {
		return core.Plan{}, err
	}
	view := o.state.View()
	var plan core.Plan
	for i := range set.Services {
		sp, err := o.planService(view, &set.Services[i])
		if err != nil {
			return core.Plan{}, err
		}
		plan.Services = append(plan.Services, sp)
	}
	if err := checkSet(view, set, &plan); err != nil {
		return core.Plan{}, err
	}
	return plan, nil
}

// planService compares a declared service, normalised and pinned, with what is wanted now.
func (o *Operations) planService(r state.Reader, d *core.Declared) (core.ServicePlan, error) {
	digest, err := core.DigestJSON(d.Spec)
	if err != nil {
		return core.ServicePlan{}, err
	}
	sp := core.ServicePlan{
		Service: d.Name, Action: core.ActionCreate, Seq: state.Services.Seq(r, d.Name), To: 1,
		Count: d.Count, Digest: digest, Strategy: d.Spec.Rollout.Strategy, Creates: d.Count,
	}
	svc, exists := state.Services.Get(r, d.Name)
	if !exists {
		sp.Diff = o.diff(nil, &d.Spec)
		return sp, nil
	}
	if svc.Deleting {
		return sp, core.Errorf(core.CodeConflict, "service %q is being deleted", d.Name).WithObject(core.KindService, d.Name).
			WithHint("wait until `instar service show %s` no longer finds it, then apply again", d.Name)
	}
	sp.From, sp.Action, sp.To = svc.Revision, core.ActionUpdate, svc.Revisions+1
	wanted, _ := state.Revisions.Get(r, core.RevisionID(d.Name, svc.Revision))
	if wanted.Digest == digest {
		sp.To, sp.Action, sp.Creates, sp.Strategy = svc.Revision, core.ActionNone, 0, ""
		if svc.Count != d.Count {
			sp.Action, sp.Creates = core.ActionScale, max(0, d.Count-svc.Count)
		}
		return sp, nil
	}
	for _, rev := range state.Revisions.By(r, state.ByService, d.Name) {
		if rev.Digest == digest {
			sp.To, sp.Action = rev.Number, core.ActionReturn
		}
	}
	old := &wanted.Spec
	if wanted.Number == 0 {
		old = nil // nothing is wanted: the first rollout failed
	}
	sp.Diff = o.diff(old, &d.Spec)
	sp.Replaces, sp.Creates = replaced(r, &svc, sp.To, d.Count)
	sp.MaxSurge, sp.MaxUnavailable = d.Spec.Rollout.MaxSurge, d.Spec.Rollout.MaxUnavailable
	return sp, nil
}

// replaced are the instances that a rollout to revision to replaces, and how many it makes: those of to
// that are there already are used again.
func replaced(r state.Reader, svc *core.Service, to, count int) (ids []string, creates int) {
	creates = count
	for id, inst := range state.Instances.By(r, state.ByService, svc.Name) {
		if inst.Desired != core.DesiredRun {
			continue
		}
		switch status, _ := state.InstanceStatuses.Get(r, id); {
		case inst.Revision == to && !status.Phase.Over():
			creates--
		case inst.Revision == svc.Active && inst.Revision != to:
			ids = append(ids, id)
		}
	}
	return ids, max(0, creates)
}

func (o *Operations) diff(old, next *core.Spec) []core.Diff {
	return spec.Diff(old, next, spec.Sensitive(o.schemas, old, next))
}

// newer compares versions of drivers, with or without a leading v.
func newer(a, b string) bool {
	return semver.Compare("v"+strings.TrimPrefix(a, "v"), "v"+strings.TrimPrefix(b, "v")) > 0
}

func sortedNames[V any](m map[string]V) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
