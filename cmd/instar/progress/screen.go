package progress

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/instarhq/instar/cmd/instar/table"
	"github.com/instarhq/instar/core"
)

// Screen shows rollouts as they go on. Views are given in the order in which they are to be drawn.
type Screen interface {
	Show(views []core.RolloutView, now time.Time) error
}

// NewScreen makes a block that is drawn in place if live, else a log of transitions. width tells the
// terminal's columns at the time of each drawing.
func NewScreen(w io.Writer, live bool, width func() int, style table.Style) Screen {
	if live {
		return &block{w: w, width: width, style: style}
	}
	return &log{w: w, last: map[string]string{}, told: map[string]core.RolloutPhase{}}
}

// block draws over what it drew before.
type block struct {
	w     io.Writer
	width func() int
	style table.Style
	drawn int // lines above the cursor that are ours
}

func (b *block) Show(views []core.RolloutView, now time.Time) error {
	var out strings.Builder
	if b.drawn > 0 {
		fmt.Fprintf(&out, "\x1b[%dA", b.drawn)
	}
	width := b.width()
	b.drawn = 0
	for i := range views {
		for _, line := range Lines(&views[i], now, b.style) {
			out.WriteString("\x1b[2K" + cut(line, width) + "\n")
			b.drawn++
		}
	}
	out.WriteString("\x1b[J") // fewer lines than before leave nothing behind
	_, err := io.WriteString(b.w, out.String())
	return err
}

// cut keeps a line from wrapping, which would break the count of lines. Escapes take no columns.
func cut(line string, width int) string {
	if width <= 0 || table.Width(line) <= width {
		return line
	}
	var out strings.Builder
	columns, escape := 0, false
	for _, r := range line {
		switch {
		case r == 0x1b:
			escape = true
		case escape:
			escape = r != 'm'
		case columns >= width-1:
			continue
		default:
			columns++
		}
		out.WriteRune(r)
	}
	return out.String() + "…"
}

// log writes one line for each transition.
type log struct {
	w    io.Writer
	last map[string]string
	told map[string]core.RolloutPhase // the furthest phase that a line was about
}

func (l *log) Show(views []core.RolloutView, _ time.Time) error {
	for i := range views {
		id, line := views[i].Rollout.ID(), Line(&views[i])
		if l.last[id] == line {
			continue
		}
		if switched := l.missed(&views[i]); switched != "" {
			line = switched + "\n" + id + ": " + line
		}
		l.last[id] = Line(&views[i])
		l.told[id] = max(l.told[id], views[i].Rollout.Phase)
		if _, err := fmt.Fprintf(l.w, "%s: %s\n", id, line); err != nil {
			return err
		}
	}
	return nil
}

// missed is the line of a switch that was over before it was looked at: it takes milliseconds, and is what whoever
// watches waits for.
func (l *log) missed(v *core.RolloutView) string {
	r := v.Rollout
	told, watched := l.told[r.ID()]
	entered := slices.ContainsFunc(r.History, func(h core.PhaseEntry) bool { return h.Phase == core.RolloutSwitching })
	if !watched || told >= core.RolloutSwitching || r.Phase <= core.RolloutSwitching || !entered || r.Rolling != nil {
		return ""
	}
	r.Phase = core.RolloutSwitching
	return Line(&core.RolloutView{Rollout: r, Progress: v.Progress})
}

// Line says where a rollout stands in one line that changes only with its state, not with the clock.
func Line(v *core.RolloutView) string {
	r, p := &v.Rollout, &v.Progress
	text := r.Phase.String()
	switch r.Phase {
	case core.RolloutProvisioning:
		text += fmt.Sprintf(" %d/%d created", p.Created, p.Wanted) + fetched(p.Fetches)
	case core.RolloutVerifying:
		text += fmt.Sprintf(" %d/%d healthy", p.Healthy, p.Wanted)
	case core.RolloutSwitching:
		if r.Rolling != nil {
			text += " " + replaced(p)
			break
		}
		text += fmt.Sprintf(" traffic to revision %d", r.To)
	case core.RolloutBaking:
		text += " " + switched(r, p)
		if !p.BakeUntil.IsZero() {
			text += ", until " + p.BakeUntil.Local().Format(time.TimeOnly)
		}
	case core.RolloutRetiring:
		if d := retiring(r, p); d != "" {
			text += " " + strings.Join(strings.Fields(d), " ")
		}
	case core.RolloutFailed, core.RolloutRolledBack, core.RolloutRollingBack:
		text += ": " + why(r)
	}
	return table.Clean(strings.TrimSpace(text))
}
