// Package progress shows where rollouts stand: a block that is drawn again in place on a terminal, a
// plain line for each transition elsewhere.
package progress

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/instarhq/instar/cmd/instar/table"
	"github.com/instarhq/instar/core"
)

// marks before a phase.
const (
	markDone   = "✔"
	markNow    = "●"
	markLater  = "○"
	markFailed = "✘"
)

// steps are the phases that a rollout is shown with, in order.
var steps = []core.RolloutPhase{
	core.RolloutProvisioning, core.RolloutVerifying, core.RolloutSwitching, core.RolloutBaking, core.RolloutRetiring,
}

// Lines draws one rollout.
func Lines(v *core.RolloutView, now time.Time, style table.Style) []string {
	r := &v.Rollout
	end := now
	if !r.EndedAt.IsZero() {
		end = r.EndedAt
	}
	title := "rollout " + r.ID()
	if r.Kind == core.RolloutRollback {
		title += " (rollback)"
	}
	out := []string{table.Pad(style.Bold(title), 67) + style.Faint(clock(end.Sub(r.Started)))}
	reached := lastStep(r)
	for _, step := range steps {
		if step == core.RolloutRetiring && r.Rolling != nil {
			continue // nothing is left that could be kept
		}
		out = append(out, stepLine(v, step, reached, now, style))
	}
	if r.Phase == core.RolloutRollingBack || (r.Phase.Over() && !r.Phase.Good()) {
		out = append(out, fmt.Sprintf(" %s %s  %s", style.Bad(markFailed), table.Pad(r.Phase.String(), 13), table.Clean(why(r))))
	}
	if v.Progress.Waiting != "" && !r.Phase.Done() {
		out = append(out, style.Faint("   waits for: ")+table.Clean(v.Progress.Waiting))
	}
	if !r.Phase.Done() {
		out = append(out, fetchLines(v.Progress.Fetches, style)...)
	}
	for _, t := range head(v.Progress.Troubles, 3) {
		out = append(out, fmt.Sprintf("   %s %s on %s: %s", style.Bad("!"), t.Instance, t.Node, table.Clean(t.Message)))
	}
	return out
}

// lastStep is the last of the shown steps that the rollout has entered.
func lastStep(r *core.Rollout) core.RolloutPhase {
	if r.Phase == core.RolloutSucceeded {
		return r.Phase
	}
	reached := core.RolloutProvisioning
	for _, h := range r.History {
		if slices.Contains(steps, h.Phase) && h.Phase > reached {
			reached = h.Phase
		}
	}
	if slices.Contains(steps, r.Phase) && r.Phase > reached {
		reached = r.Phase
	}
	return reached
}

func stepLine(v *core.RolloutView, step, reached core.RolloutPhase, now time.Time, style table.Style) string {
	mark, detail := style.Faint(markLater), ""
	switch {
	case step == v.Rollout.Phase:
		mark, detail = style.Warn(markNow), stepDetail(v, step, now)
	case step < reached || (step == reached && v.Rollout.Phase.Good()):
		mark, detail = style.Good(markDone), stepDetail(v, step, now)
	case step == reached && (v.Rollout.Phase.Over() || v.Rollout.Phase == core.RolloutRollingBack):
		mark, detail = style.Bad(markFailed), stepDetail(v, step, now)
	case step == reached:
		mark, detail = style.Warn(markNow), stepDetail(v, step, now)
	}
	return strings.TrimRight(fmt.Sprintf(" %s %s  %s", mark, table.Pad(step.String(), 13), detail), " ")
}

func stepDetail(v *core.RolloutView, step core.RolloutPhase, now time.Time) string {
	r, p := &v.Rollout, &v.Progress
	switch step {
	case core.RolloutProvisioning:
		return columns(fmt.Sprintf("%d/%d created", p.Created, p.Wanted), strings.Join(p.Nodes, " "))
	case core.RolloutVerifying:
		smoke := ""
		if p.Total > 0 {
			smoke = fmt.Sprintf("smoke %d/%d", p.Passed, p.Total)
		}
		return columns(fmt.Sprintf("%d/%d healthy", p.Healthy, p.Wanted), smoke)
	case core.RolloutSwitching:
		return columns(fmt.Sprintf("%s → %d", r.Service, r.To), switched(r, p))
	case core.RolloutBaking:
		return baking(r, p, now)
	case core.RolloutRetiring:
		return retiring(r, p)
	}
	return ""
}

func switched(r *core.Rollout, p *core.Progress) string {
	if r.Rolling != nil && r.ConfirmedAt.IsZero() {
		return replaced(p)
	}
	if !r.ConfirmedAt.IsZero() {
		text := "confirmed"
		if len(p.Confirmed) > 0 {
			text += " by " + strings.Join(p.Confirmed, " ")
		}
		if r.Rolling != nil {
			return fmt.Sprintf("%s after %s", text, r.ConfirmedAt.Sub(r.SwitchedAt).Round(time.Second))
		}
		return fmt.Sprintf("%s in %d ms", text, r.ConfirmedAt.Sub(r.SwitchedAt).Milliseconds())
	}
	if len(p.Pending) > 0 {
		return "not yet confirmed by " + strings.Join(p.Pending, " ")
	}
	return ""
}

// replaced is how far a rolling rollout has come.
func replaced(p *core.Progress) string {
	text := fmt.Sprintf("%d/%d replaced", p.Replaced, p.Wanted)
	if p.Left > 0 {
		text += fmt.Sprintf(", %d to go", p.Left)
	}
	return text
}

func baking(r *core.Rollout, p *core.Progress, now time.Time) string {
	if p.BakeUntil.IsZero() || r.Phase != core.RolloutBaking {
		return ""
	}
	total := p.BakeUntil.Sub(r.PhaseAt)
	return columns(fmt.Sprintf("%s of %s", short(min(now.Sub(r.PhaseAt), total)), short(total)),
		fmt.Sprintf("%d/%d healthy%s", p.Healthy, p.Wanted, warm(r, p)))
}

func warm(r *core.Rollout, p *core.Progress) string {
	if r.Rolling != nil {
		return "" // nothing is kept
	}
	return fmt.Sprintf(", %d warm", p.Warm)
}

func retiring(r *core.Rollout, p *core.Progress) string {
	if r.From == 0 || p.KeepUntil.IsZero() {
		return ""
	}
	return columns(fmt.Sprintf("revision %d stays warm until %s", r.From, p.KeepUntil.Local().Format("15:04")),
		"back with: instar rollback "+r.Service)
}

func columns(left, right string) string {
	if right == "" {
		return left
	}
	return table.Pad(left, 21) + " " + right
}

func why(r *core.Rollout) string {
	if r.Failure != nil {
		return r.Failure.Message
	}
	return r.Reason
}

func clock(d time.Duration) string {
	d = max(d, 0)
	return fmt.Sprintf("%02d:%02d", int(d.Minutes()), int(d.Seconds())%60)
}

func short(d time.Duration) string {
	d = max(d, 0)
	return fmt.Sprintf("%d:%02d", int(d.Minutes()), int(d.Seconds())%60)
}

func head[T any](items []T, n int) []T { return items[:min(n, len(items))] }
