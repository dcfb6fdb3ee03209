package progress

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/instarhq/instar/cmd/instar/table"
	"github.com/instarhq/instar/core"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func rollout(phase core.RolloutPhase) core.RolloutView {
	r := core.Rollout{Service: "shop", Number: 2, From: 1, To: 2, Phase: phase, Started: start, PhaseAt: start.Add(10 * time.Second)}
	for _, p := range []core.RolloutPhase{core.RolloutProvisioning, core.RolloutVerifying, core.RolloutSwitching, core.RolloutBaking} {
		if p <= phase || phase.Over() {
			r.History = append(r.History, core.PhaseEntry{Phase: p, At: start})
		}
	}
	return core.RolloutView{Rollout: r, Progress: core.Progress{
		Wanted: 3, Created: 3, Healthy: 3, Nodes: []string{"n1", "n2"}, Passed: 2, Total: 2, Warm: 3, Confirmed: []string{"n1/local"},
	}}
}

func TestLines(t *testing.T) {
	baking := rollout(core.RolloutBaking)
	baking.Rollout.SwitchedAt = start
	baking.Rollout.ConfirmedAt = start.Add(41 * time.Millisecond)
	baking.Progress.BakeUntil = start.Add(70 * time.Second)
	early := rollout(core.RolloutProvisioning)
	early.Progress.Created = 1
	early.Progress.Waiting = "2 of 3 instances"
	early.Progress.Troubles = []core.Trouble{{Instance: "shop-a", Node: "n1", Message: "bad\x1b[2J"}}
	failed := rollout(core.RolloutFailed)
	failed.Rollout.History = failed.Rollout.History[:2]
	failed.Rollout.Failure = &core.Failure{Message: "nothing became healthy"}
	rolling := rollout(core.RolloutSwitching)
	rolling.Rollout.Rolling, rolling.Rollout.SwitchedAt = &core.Rolling{MaxSurge: "1"}, start
	rolling.Progress.Wanted, rolling.Progress.Replaced, rolling.Progress.Left, rolling.Progress.Warm = 20, 7, 13, 0
	rolled := rollout(core.RolloutSucceeded)
	rolled.Rollout.Rolling, rolled.Rollout.SwitchedAt, rolled.Rollout.ConfirmedAt = rolling.Rollout.Rolling, start, start.Add(61*time.Second)
	for name, c := range map[string]struct {
		view core.RolloutView
		want string
	}{
		"rolling": {rolling, `rollout shop/2                                                     00:33
 ✔ provisioning   3/20 created          n1 n2
 ✔ verifying      3/20 healthy          smoke 2/2
 ● switching      shop → 2              7/20 replaced, 13 to go
 ○ baking`},
		"rolled": {rolled, `rollout shop/2                                                     00:33
 ✔ provisioning   3/3 created           n1 n2
 ✔ verifying      3/3 healthy           smoke 2/2
 ✔ switching      shop → 2              confirmed by n1/local after 1m1s
 ✔ baking`},
		"baking": {baking, `rollout shop/2                                                     00:33
 ✔ provisioning   3/3 created           n1 n2
 ✔ verifying      3/3 healthy           smoke 2/2
 ✔ switching      shop → 2              confirmed by n1/local in 41 ms
 ● baking         0:23 of 1:00          3/3 healthy, 3 warm
 ○ retiring`},
		"early": {early, `rollout shop/2                                                     00:33
 ● provisioning   1/3 created           n1 n2
 ○ verifying
 ○ switching
 ○ baking
 ○ retiring
   waits for: 2 of 3 instances
   ! shop-a on n1: bad·[2J`},
		"failed": {failed, `rollout shop/2                                                     00:33
 ✔ provisioning   3/3 created           n1 n2
 ✘ verifying      3/3 healthy           smoke 2/2
 ○ switching
 ○ baking
 ○ retiring
 ✘ failed         nothing became healthy`},
	} {
		got := strings.Join(Lines(&c.view, start.Add(33*time.Second), table.Style{}), "\n")
		if got != c.want {
			t.Errorf("%s:\n%s\nwant:\n%s", name, got, c.want)
		}
	}
}

// A drawing goes up by as many lines as the one before took, never wraps, and leaves nothing behind.
func TestBlockDrawsInPlace(t *testing.T) {
	var out bytes.Buffer
	width := 30
	s := NewScreen(&out, true, func() int { return width }, table.Style{Color: true})
	if err := s.Show([]core.RolloutView{rollout(core.RolloutVerifying)}, start); err != nil {
		t.Fatal(err)
	}
	first := out.String()
	if n := strings.Count(first, "\n"); n != 6 || strings.Contains(first, "\x1b[6A") {
		t.Fatalf("%d lines in %q", n, first)
	}
	for _, line := range strings.Split(strings.ReplaceAll(first, "\x1b[2K", ""), "\n") {
		if table.Width(line) > width {
			t.Errorf("%q is wider than %d", line, width)
		}
	}
	out.Reset()
	if err := s.Show([]core.RolloutView{rollout(core.RolloutBaking)}, start); err != nil {
		t.Fatal(err)
	}
	if got := out.String(); !strings.HasPrefix(got, "\x1b[6A") || !strings.HasSuffix(got, "\x1b[J") {
		t.Errorf("second drawing %q", got)
	}
}

// Without a terminal there is one line for each transition, and none while only the clock moves.
func TestLogWritesTransitions(t *testing.T) {
	var out bytes.Buffer
	s := NewScreen(&out, false, nil, table.Style{})
	for i, phase := range []core.RolloutPhase{core.RolloutProvisioning, core.RolloutProvisioning, core.RolloutVerifying, core.RolloutSucceeded} {
		if err := s.Show([]core.RolloutView{rollout(phase)}, start.Add(time.Duration(i)*time.Second)); err != nil {
			t.Fatal(err)
		}
	}
	// The switch was over when it was looked at; the rollout's history tells of it.
	want := "shop/2: provisioning 3/3 created\nshop/2: verifying 3/3 healthy\nshop/2: switching traffic to revision 2\nshop/2: succeeded\n"
	if out.String() != want {
		t.Errorf("%q, want %q", out.String(), want)
	}
}
