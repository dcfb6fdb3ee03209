package notice

import (
	"time"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/state"
)

const (
	notable  = core.SeverityNotice
	warning  = core.SeverityWarning
	critical = core.SeverityCritical
)

func (w *writer) service() {
	about := core.Notice{Service: w.op.ID}
	if w.op.Delete {
		w.say(core.TopicService, notable, about, "service %s is gone", w.op.ID)
		return
	}
	now, ok := written(w, state.Services)
	if !ok {
		return
	}
	before := old[core.Service](w)
	switch {
	case before == nil:
		w.say(core.TopicService, notable, about, "service %s is new, with %d wanted instances", now.Name, now.Count)
	case now.Deleting && !before.Deleting:
		w.say(core.TopicService, notable, about, "service %s is being deleted", now.Name)
	case now.Count != before.Count:
		w.say(core.TopicService, notable, about, "service %s is scaled from %d to %d instances", now.Name, before.Count, now.Count)
	}
	if b := now.Backoff; b != nil && b.Failures > 1 && (before == nil || before.Backoff == nil || before.Backoff.Failures < b.Failures) {
		w.say(core.TopicService, warning, about, "instances of revision %d of %s have failed %d times in a row; replacements wait until %s",
			b.Revision, now.Name, b.Failures, b.Until.UTC().Format(time.TimeOnly))
	}
}

func (w *writer) rollout() {
	now, ok := written(w, state.Rollouts)
	if !ok {
		return
	}
	before := old[core.Rollout](w)
	about := core.Notice{Service: now.Service}
	if before == nil {
		w.say(core.TopicRollout, notable, about, "rollout %s has begun: revision %s%s", now.ID(), way(&now), because(now.Reason))
	}
	if before != nil && before.AbortAsked == "" && now.AbortAsked != "" {
		w.say(core.TopicRollout, warning, about, "rollout %s is to be aborted: %s", now.ID(), now.AbortAsked)
	}
	if before == nil && now.Phase == core.RolloutProvisioning || before != nil && before.Phase == now.Phase {
		return
	}
	severity, sentence := phase(&now, before)
	if sentence != "" {
		w.say(core.TopicRollout, severity, about, "rollout %s%s", now.ID(), sentence)
	}
}

// phase says what a rollout's phase means.
func phase(r *core.Rollout, before *core.Rollout) (core.Severity, string) {
	why := ""
	if r.Failure != nil {
		why = because(r.Failure.Message)
	}
	switch r.Phase {
	case core.RolloutVerifying:
		if r.Rolling != nil {
			return notable, " is verifying: the first instances of revision " + number(r.To) + " run"
		}
		return notable, " is verifying: all instances of revision " + number(r.To) + " run"
	case core.RolloutApproving:
		return notable, " waits for an approval"
	case core.RolloutSwitching:
		if r.Rolling != nil {
			return notable, " replaces the instances of revision " + number(r.From) + ", a few at a time"
		}
		return notable, " switches the traffic to revision " + number(r.To)
	case core.RolloutBaking:
		return notable, ": revision " + number(r.To) + " has the traffic and is watched"
	case core.RolloutRetiring:
		return notable, " is done: revision " + number(r.To) + " serves, revision " + number(r.From) + " stays warm"
	case core.RolloutSucceeded:
		if before != nil && before.Phase == core.RolloutRetiring {
			return notable, ": revision " + number(r.From) + " is retired"
		}
		return notable, " has succeeded: revision " + number(r.To) + " serves"
	case core.RolloutRollingBack:
		return warning, " goes back to revision " + number(r.From) + why
	case core.RolloutRolledBack:
		return warning, " is rolled back: revision " + number(r.From) + " serves" + why
	case core.RolloutFailed:
		return warning, " has failed" + why
	case core.RolloutSuperseded:
		return notable, " is superseded by a newer one"
	default:
		return notable, " is " + r.Phase.String()
	}
}

// way is a rollout's direction: "1 → 2", or the first revision alone.
func way(r *core.Rollout) string {
	if r.From == 0 {
		return number(r.To)
	}
	return number(r.From) + " → " + number(r.To)
}

// instance tells of failures, and of what was unhealthy after it had been verified. Everything else in an
// instance's life is what a rollout, or a replacement, does on purpose.
func (w *writer) instance() {
	now, ok := written(w, state.InstanceStatuses)
	if !ok {
		return
	}
	about := core.Notice{Service: now.Service, Node: now.Node}
	over := now.Phase == core.InstanceFailed || now.Phase == core.InstanceLost
	running := now.Phase == core.InstanceRunning && now.Verified
	if !over && !running {
		return
	}
	before := old[core.InstanceStatus](w)
	switch {
	case over && (before == nil || before.Phase != now.Phase):
		why := ""
		if now.Failure != nil {
			why = because(now.Failure.Message)
		}
		w.say(core.TopicInstance, warning, about, "instance %s on %s %s%s", now.ID, now.Node, ended(now.Phase), why)
	case !running || before == nil || !before.Verified:
	case before.Healthy && !now.Healthy:
		w.say(core.TopicInstance, warning, about, "instance %s on %s is not healthy%s", now.ID, now.Node, because(now.Unhealthy))
	case !before.Healthy && now.Healthy:
		w.say(core.TopicInstance, notable, about, "instance %s on %s is healthy again", now.ID, now.Node)
	}
}

func ended(p core.InstancePhase) string {
	if p == core.InstanceLost {
		return "is lost"
	}
	return "has failed"
}
