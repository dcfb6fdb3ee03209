package haproxy

import (
	"context"
	"time"

	"github.com/instarhq/instar/plugins/traffic/haproxy/layout"
	"github.com/instarhq/instar/plugins/traffic/haproxy/socket"
)

// How often keep looks at what leaves, and whether all is as it should be.
const (
	drainPoll    = 100 * time.Millisecond
	convergePoll = time.Second
)

// keep frees the slots of endpoints that have left and puts right what is not as the state says, until the
// driver ends.
func (d *Driver) keep() {
	converge := time.NewTicker(convergePoll)
	defer converge.Stop()
	drain := time.NewTimer(0)
	defer drain.Stop()
	for round := 0; ; {
		select {
		case <-d.ctx.Done():
			return
		case <-converge.C:
			// Where there are thousands of slots, looking at all of them each second would be a load.
			if round++; round%(1+d.store.state().Slots()/500) == 0 {
				d.look()
			}
		case <-d.wake:
		case <-drain.C:
		}
		if d.store.state().Leaving() {
			d.settle()
			drain.Reset(drainPoll)
		}
	}
}

// nudge makes keep look at what leaves.
func (d *Driver) nudge() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

func (d *Driver) look() {
	ctx, cancel := context.WithTimeout(d.ctx, time.Minute)
	defer cancel()
	_, unlock, err := d.lock(ctx)
	if err != nil {
		return // the driver ends, or another one is busy
	}
	defer unlock()
	_ = d.noteHealth(d.converge(ctx)) // it is the target's health, and tried again
}

// settle frees slots whose endpoints have no requests any more, and ends requests at their deadline.
func (d *Driver) settle() {
	ctx, cancel := context.WithTimeout(d.ctx, 30*time.Second)
	defer cancel()
	t, unlock, err := d.lock(ctx)
	if err != nil {
		return
	}
	defer unlock()
	if err := d.settleLocked(ctx, t); err != nil && d.ctx.Err() == nil {
		d.logger.Debug("what is being drained could not be looked at", "error", err)
	}
}

func (d *Driver) settleLocked(ctx context.Context, t *target) error {
	next := d.store.state().Clone()
	routes := append(next.Ordered(), next.Gone...)
	var leaving []place
	for _, r := range routes {
		leaving = append(leaving, pick(r, (*layout.Slot).Leaving)...)
	}
	procs, err := t.master().Processes(ctx)
	if err != nil {
		return err
	}
	busy := make(map[*layout.Slot]bool)
	all, err := t.rowsOf(ctx, procs, routes)
	if err != nil {
		return err
	}
	for _, w := range procs.Workers {
		if err := endOverdue(ctx, t.master(), w, all[w.PID], leaving, busy); err != nil && !w.Old {
			return err // an old worker may have ended since it was listed
		}
	}
	changed := false
	for _, at := range leaving {
		if !busy[at.slot] {
			*at.slot, changed = layout.Slot{}, true
		}
	}
	if !changed {
		return nil
	}
	kept := next.Gone[:0]
	for _, r := range next.Gone {
		if len(pick(r, (*layout.Slot).Leaving)) > 0 {
			kept = append(kept, r)
		}
	}
	next.Gone = kept
	return d.store.save(next) // the servers of free slots are switched off by the next look
}

// endOverdue notes which of the leaving endpoints are busy in one worker, and ends what is over its time.
func endOverdue(ctx context.Context, m socket.Master, w socket.Worker, rows table, leaving []place, busy map[*layout.Slot]bool) error {
	overdue := make(map[[2]string]bool)
	for _, at := range leaving {
		row := rows[[2]string{at.backend, at.server}]
		if row.Address != at.slot.Address || row.Sessions == 0 {
			continue
		}
		busy[at.slot] = true
		if time.Now().After(at.slot.Leaves) {
			overdue[[2]string{at.backend, at.server}] = true
		}
	}
	return endSessions(ctx, m, w, overdue)
}

// endSessions ends what servers, by backend and name, have under way in one worker. One that a reload has
// replaced can only be told so session by session.
func endSessions(ctx context.Context, m socket.Master, w socket.Worker, overdue map[[2]string]bool) error {
	var commands []string
	switch {
	case len(overdue) == 0:
		return nil
	case w.Old:
		answers, err := m.Ask(ctx, w.PID, "show sess")
		if err != nil {
			return err
		}
		for id, server := range socket.Sessions(answers[0]) {
			if overdue[server] {
				commands = append(commands, "shutdown session "+id)
			}
		}
	default:
		for server := range overdue {
			commands = append(commands, "shutdown sessions server "+server[0]+"/"+server[1])
		}
	}
	_, err := m.Ask(ctx, w.PID, commands...)
	return err
}
