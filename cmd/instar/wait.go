package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"github.com/instarhq/instar/cmd/instar/progress"
	"github.com/instarhq/instar/cmd/instar/table"
	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/api/client"
)

// redraw is how often the clock of a live display moves on without any other change.
const redraw = time.Second

// wait shows rollouts until each has nothing left to wait for. It ends with an error if one of them
// failed, with exit code 3 when timeout (0: none) is over, and with a word that the rollouts go on when
// the person interrupts.
func (u *ui) wait(ctx context.Context, c *client.Client, ids []string, timeout time.Duration, quiet bool) error {
	waiting := ctx
	if timeout > 0 {
		var cancel context.CancelFunc
		waiting, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	w := &waiter{ui: u, client: c, ids: ids, troubles: map[string][]core.Trouble{}}
	if !quiet {
		w.screen = progress.NewScreen(u.out, u.terminal, terminalWidth, u.style)
	}
	err := w.follow(waiting)
	switch {
	case err == nil:
		return w.outcome()
	case ctx.Err() != nil:
		return &exitError{code: exitTimeout, message: "no longer waiting; the rollout goes on", hint: "instar rollout watch " + ids[0]}
	case errors.Is(err, context.DeadlineExceeded):
		return &exitError{code: exitTimeout, message: fmt.Sprintf("not done within %s; the rollout goes on", timeout), hint: "instar rollout watch " + ids[0]}
	}
	return err
}

// waiter follows a set of rollouts.
type waiter struct {
	*ui
	client   *client.Client
	ids      []string
	screen   progress.Screen // nil: show nothing
	views    []core.RolloutView
	troubles map[string][]core.Trouble // the last ones seen: they are gone with their instances
}

// follow reads the rollouts again at every change of the cluster, and once a second.
func (w *waiter) follow(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	changed := make(chan struct{}, 1)
	go func() {
		for _, err := range w.client.Watch(ctx, client.Watch{}) {
			if err != nil {
				return // the tick still leads on, and its requests say what is wrong
			}
			select {
			case changed <- struct{}{}:
			default:
			}
		}
	}()
	tick := time.NewTicker(redraw)
	defer tick.Stop()
	for {
		done, err := w.look(ctx)
		if done || err != nil {
			return err
		}
		select {
		case <-changed:
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (w *waiter) look(ctx context.Context) (done bool, err error) {
	w.views, done = w.views[:0], true
	for _, id := range w.ids {
		v, err := w.client.Rollout(ctx, id)
		if err != nil {
			if core.Retryable(err) && ctx.Err() == nil {
				return false, nil // a daemon that restarts; the next look finds it again
			}
			return false, err
		}
		if len(v.Progress.Troubles) > 0 {
			w.troubles[id] = v.Progress.Troubles
		}
		w.views = append(w.views, v)
		done = done && v.Rollout.Phase.Done()
	}
	if w.screen != nil {
		if err := w.screen.Show(w.views, time.Now()); err != nil {
			return false, fmt.Errorf("show the progress: %w", err)
		}
	}
	return done, nil
}

// outcome prints why rollouts did not succeed.
func (w *waiter) outcome() error {
	failed := 0
	for i := range w.views {
		if r := &w.views[i].Rollout; !r.Phase.Good() {
			failed++
			w.explain(r)
		}
	}
	if failed > 0 {
		return &exitError{code: exitFailed}
	}
	return nil
}

func (w *waiter) explain(r *core.Rollout) {
	message, logs := r.Reason, []string(nil)
	if r.Failure != nil {
		message, logs = r.Failure.Message, r.Failure.Logs
	}
	say(w.err, "%s %s\n", w.style.Bad(fmt.Sprintf("rollout %s %s:", r.ID(), r.Phase)), table.Clean(message))
	troubles := w.troubles[r.ID()]
	for _, t := range troubles[:min(3, len(troubles))] {
		if !strings.Contains(message, t.Message) {
			say(w.err, "  %s on %s: %s\n", t.Instance, t.Node, table.Clean(t.Message))
		}
		printLogs(w, t.Logs)
	}
	if len(troubles) == 0 {
		printLogs(w, logs)
	}
	say(w.err, "  more: instar rollout show %s\n", r.ID())
}

func printLogs(w *waiter, lines []string) {
	for _, line := range lines {
		say(w.err, "    | %s\n", table.Clean(line))
	}
}

// terminalWidth is the present width of standard output, or a safe guess.
func terminalWidth() int {
	if width, _, err := term.GetSize(int(os.Stdout.Fd())); err == nil && width > 20 {
		return width
	}
	return 80
}
