package telemetry

import (
	"slices"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/state"
)

var (
	serviceWanted   = gauge("instar_service_instances_wanted", "Instances of the active revision that are wanted. From the leader only.", "service")
	serviceRunning  = gauge("instar_service_instances_running", "Instances of the revisions that serve that run. From the leader only.", "service")
	serviceHealthy  = gauge("instar_service_instances_healthy", "Instances of the revisions that serve that are healthy. From the leader only.", "service")
	serviceWarm     = gauge("instar_service_instances_warm", "Healthy instances of the revision that is kept for a way back. From the leader only.", "service")
	serviceRevision = gauge("instar_service_active_revision", "Number of the revision that has the traffic. From the leader only.", "service")
	serviceFailures = gauge("instar_service_consecutive_failures", "Waves of failing instances in a row, which hold back replacements. From the leader only.", "service")

	instances = gauge("instar_instances", "Instances by node and phase. From the leader only.", "node", "phase")

	rolloutPhase   = gauge("instar_rollout_phase", "1 for the phase that a service's newest rollout is in; other phases are left out. From the leader only.", "service", "phase")
	rolloutPhaseAt = gauge("instar_rollout_phase_start_timestamp_seconds", "When a service's newest rollout has entered its phase. From the leader only.", "service")
)

var phases = []core.InstancePhase{
	core.InstancePlaced, core.InstanceCreating, core.InstanceRunning, core.InstanceDraining,
	core.InstanceDestroying, core.InstanceFailed, core.InstanceLost, core.InstanceGone,
}

// tally is what the instances of a service come to.
type tally struct {
	service                core.Service
	other                  int   // the revision that is kept warm
	serving                []int // revisions that get requests beside the active one
	running, healthy, warm int
}

// services puts the services with their rollouts, and the instances, in one pass over these.
func (o out) services(view *state.View) {
	tallies := map[string]*tally{}
	for name, svc := range state.Services.All(view) {
		t := &tally{service: svc, other: svc.Previous}
		tallies[name] = t
		o.put(serviceWanted, float64(svc.Count), name)
		o.put(serviceRevision, float64(svc.Active), name)
		if svc.Backoff != nil {
			o.put(serviceFailures, float64(svc.Backoff.Failures), name)
		} else {
			o.put(serviceFailures, 0, name)
		}
		r, there := state.Rollouts.Get(view, core.RolloutID(name, svc.Rollouts))
		if !there {
			continue
		}
		o.put(rolloutPhase, 1, name, r.Phase.String())
		o.moment(rolloutPhaseAt, r.PhaseAt, name)
		t.serving = r.ServeToo()
		if t.other == 0 && !r.Phase.Over() {
			t.other = r.From
		}
	}
	o.instances(view, tallies)
	for name, t := range tallies {
		o.put(serviceRunning, float64(t.running), name)
		o.put(serviceHealthy, float64(t.healthy), name)
		o.put(serviceWarm, float64(t.warm), name)
	}
}

func (o out) instances(view *state.View, tallies map[string]*tally) {
	nodes := map[string]map[core.InstancePhase]int{}
	for name := range state.Nodes.All(view) {
		nodes[name] = map[core.InstancePhase]int{}
	}
	for id, inst := range state.Instances.All(view) {
		status, reported := state.InstanceStatuses.Get(view, id)
		if !reported {
			status.Phase = core.InstancePlaced
		}
		if nodes[inst.Node] == nil {
			nodes[inst.Node] = map[core.InstancePhase]int{}
		}
		nodes[inst.Node][status.Phase]++
		if t := tallies[inst.Service]; t != nil && inst.Desired == core.DesiredRun {
			t.add(inst.Revision, &status)
		}
	}
	for node, counts := range nodes {
		for _, phase := range phases {
			o.put(instances, float64(counts[phase]), node, phase.String())
		}
	}
}

func (t *tally) add(revision int, status *core.InstanceStatus) {
	switch {
	case revision == t.service.Active, slices.Contains(t.serving, revision):
		if status.Phase == core.InstanceRunning {
			t.running++
		}
		if status.Healthy {
			t.healthy++
		}
	case revision == t.other && status.Healthy:
		t.warm++
	}
}
