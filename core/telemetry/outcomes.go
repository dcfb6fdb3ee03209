package telemetry

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/state"
)

// outcomes are how a rollout can be done; one that retires the old revision has succeeded.
var outcomes = []core.RolloutPhase{core.RolloutSucceeded, core.RolloutRolledBack, core.RolloutFailed, core.RolloutSuperseded}

// outcomeMetrics count what happens to objects of the state.
type outcomeMetrics struct {
	rollouts  *prometheus.CounterVec
	duration  *prometheus.HistogramVec
	failures  *prometheus.CounterVec
	snapshots *prometheus.CounterVec
}

func newOutcomeMetrics() outcomeMetrics {
	return outcomeMetrics{
		rollouts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "instar_rollouts_total", Help: "Rollouts that were done while this node led, by how they ended: succeeded, rolled_back, failed, superseded.",
		}, []string{"service", "outcome"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "instar_rollout_duration_seconds", Buckets: []float64{5, 15, 30, 60, 120, 300, 600, 1800, 3600},
			Help: "From a rollout's start until it was done (the warm time of the old revision aside), while this node led.",
		}, []string{"service"}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "instar_instance_failures_total", Help: "Instances that failed or were lost, noted while this node led.",
		}, []string{"service"}),
		snapshots: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "instar_snapshot_failures_total", Help: "How often a schedule began to fail, or failed for another reason, while this node led.",
		}, []string{"schedule"}),
	}
}

func (m *outcomeMetrics) all() []prometheus.Collector {
	return []prometheus.Collector{m.rollouts, m.duration, m.failures, m.snapshots}
}

// follower notices what becomes of objects.
type follower struct {
	*Telemetry
	leads func() bool
	done  map[string]bool   // rollouts, by whether they are done
	over  map[string]bool   // instances that have failed or are lost
	why   map[string]string // the failure of each schedule; empty: none
}

// Follow counts outcomes until ctx ends. What was there before it began is not counted.
func (t *Telemetry) Follow(ctx context.Context, st *state.State, leads func() bool) error {
	watch := st.Watch()
	defer watch.Stop()
	f := &follower{Telemetry: t, leads: leads, done: map[string]bool{}, over: map[string]bool{}, why: map[string]string{}}
	f.begin(st.View())
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-watch.Changed():
		}
		view, count := st.View(), leads()
		for _, change := range watch.Take() {
			f.change(view, change, count)
		}
	}
}

// begin notes what there is.
func (f *follower) begin(view *state.View) {
	for id := range state.Rollouts.All(view) {
		f.rollout(view, id, false)
	}
	for id := range state.InstanceStatuses.All(view) {
		f.instance(view, id, false)
	}
	for name := range state.Schedules.All(view) {
		f.schedule(view, name, false)
	}
	for name := range state.Services.All(view) {
		f.know(name)
	}
}

// know begins a service's counters with 0, so that the first thing that happens is an increase.
func (f *follower) know(service string) {
	for _, outcome := range outcomes {
		f.outcomes.rollouts.WithLabelValues(service, outcome.String())
	}
	f.outcomes.failures.WithLabelValues(service)
}

func (f *follower) change(view *state.View, change state.Change, count bool) {
	switch change.Kind {
	case core.KindRollout:
		f.rollout(view, change.ID, count)
	case core.KindInstanceStatus:
		f.instance(view, change.ID, count)
	case core.KindSchedule:
		f.schedule(view, change.ID, count)
	case core.KindService:
		if _, there := state.Services.Get(view, change.ID); there {
			f.know(change.ID)
		} else {
			f.forget(change.ID)
		}
	default: // nothing that is counted
	}
}

func (f *follower) rollout(view *state.View, id string, count bool) {
	r, there := state.Rollouts.Get(view, id)
	if !there {
		delete(f.done, id)
		return
	}
	if count && r.Phase.Done() && !f.done[id] {
		outcome := r.Phase.String()
		if r.Phase.Good() {
			outcome = core.RolloutSucceeded.String()
		}
		f.outcomes.rollouts.WithLabelValues(r.Service, outcome).Inc()
		f.outcomes.duration.WithLabelValues(r.Service).Observe(max(0, r.PhaseAt.Sub(r.Started).Seconds()))
	}
	f.done[id] = r.Phase.Done()
}

func (f *follower) instance(view *state.View, id string, count bool) {
	status, there := state.InstanceStatuses.Get(view, id)
	if !there || status.Phase != core.InstanceFailed && status.Phase != core.InstanceLost {
		delete(f.over, id)
		return
	}
	if count && !f.over[id] {
		f.outcomes.failures.WithLabelValues(status.Service).Inc()
	}
	f.over[id] = true
}

func (f *follower) schedule(view *state.View, name string, count bool) {
	sched, there := state.Schedules.Get(view, name)
	if !there {
		delete(f.why, name)
		f.outcomes.snapshots.DeleteLabelValues(name)
		return
	}
	why := ""
	if sched.Failing != nil {
		why = sched.Failing.Error
	}
	failures := f.outcomes.snapshots.WithLabelValues(name)
	if count && why != "" && why != f.why[name] {
		failures.Inc()
	}
	f.why[name] = why
}

// forget drops the series of a service that was deleted: names may come and go without end.
func (f *follower) forget(service string) {
	only := prometheus.Labels{"service": service}
	f.outcomes.rollouts.DeletePartialMatch(only)
	f.outcomes.duration.DeletePartialMatch(only)
	f.outcomes.failures.DeletePartialMatch(only)
}
