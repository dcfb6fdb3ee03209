package haproxy

import (
	"context"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/instarhq/instar/plugins/traffic/haproxy/layout"
	"github.com/instarhq/instar/plugins/traffic/haproxy/socket"
	"github.com/instarhq/instar/sdk"
)

// place is a slot with its names in HAProxy.
type place struct {
	backend, server string
	slot            *layout.Slot
}

func pick(r *layout.Route, want func(*layout.Slot) bool) (places []place) {
	r.EachSlot(func(backend, server string, _ *layout.Backend, slot *layout.Slot) {
		if want(slot) {
			places = append(places, place{backend, server, slot})
		}
	})
	return places
}

// joining are the slots of a route whose endpoints no check has found well yet.
func joining(r *layout.Route) []place {
	return pick(r, func(s *layout.Slot) bool { return s.Serving() && !s.Checked })
}

// departing are the slots whose endpoints left at a moment.
func departing(r *layout.Route, at time.Time) []place {
	return pick(r, func(s *layout.Slot) bool { return s.Leaving() && s.Left.Equal(at) })
}

// each gives one command for each place.
func (p plane) each(ctx context.Context, format string, places []place) error {
	commands := make([]string, len(places))
	for i, at := range places {
		commands[i] = fmt.Sprintf(format, at.backend, at.server)
	}
	answers, err := p.ask(ctx, commands...)
	if err != nil {
		return err
	}
	for i, answer := range answers {
		if answer != "" {
			return fmt.Errorf("HAProxy answers to %q: %s", commands[i], strings.TrimSpace(answer))
		}
	}
	return nil
}

// join fills slots and waits until HAProxy has checked each of them once. They get no requests yet. A server
// that is switched on counts as up until its first check, so it is switched on in drain.
func (p plane) join(ctx context.Context, places []place) error {
	if len(places) == 0 {
		return nil
	}
	rows, err := servers(ctx, p.master, p.pid, backendsOf(places)...)
	if err != nil {
		return err
	}
	var commands []string
	for _, at := range places {
		row, ok := rows[[2]string{at.backend, at.server}]
		if !ok {
			return fmt.Errorf("HAProxy has no server %s/%s, though it has loaded the configuration with it", at.backend, at.server)
		}
		if at.slot.Base == nil { // it is new; one that was switched off by hand goes on counting
			at.slot.Base = map[int]layout.Count{p.pid: {Requests: row.Total, Errors: row.Errors}}
		}
		name := at.backend + "/" + at.server
		if !row.Maintenance() {
			commands = append(commands, "set server "+name+" state maint")
		}
		if row.Address != at.slot.Address {
			host, port, err := net.SplitHostPort(at.slot.Address)
			if err != nil {
				return err
			}
			commands = append(commands, fmt.Sprintf("set server %s addr %s port %s", name, host, port))
		}
		commands = append(commands, "set server "+name+" state drain")
	}
	if _, err := p.ask(ctx, commands...); err != nil { // what it says of addresses is no error; see checked
		return err
	}
	if err := p.forget(ctx, rows, places); err != nil {
		return err
	}
	return p.awaitChecks(ctx, places)
}

func backendsOf(places []place) (backends []string) {
	for _, at := range places {
		if len(backends) == 0 || backends[len(backends)-1] != at.backend {
			backends = append(backends, at.backend)
		}
	}
	return backends
}

// forget clears the latencies of the endpoints that had the slots before.
func (p plane) forget(ctx context.Context, rows table, places []place) error {
	for _, backend := range backendsOf(places) {
		var used []int
		for _, at := range places {
			if at.backend == backend && rows[[2]string{backend, at.server}].Total > 0 {
				used = append(used, layout.SlotIndex(at.server))
			}
		}
		if len(used) == 0 {
			continue
		}
		answers, err := p.ask(ctx, "show table "+backend)
		if err != nil {
			return err
		}
		var commands []string
		for _, slot := range used {
			for _, key := range layout.Keys(socket.Rates(answers[0]), slot) {
				commands = append(commands, fmt.Sprintf("clear table %s key %d", backend, key))
			}
		}
		if _, err := p.ask(ctx, commands...); err != nil {
			return err
		}
	}
	return nil
}

// awaitChecks waits until each place has been checked since it was switched on.
func (p plane) awaitChecks(ctx context.Context, places []place) error {
	interval := max(p.target.settings.CheckInterval, time.Duration(len(places))*time.Millisecond)
	ctx, cancel := context.WithTimeoutCause(ctx, 3*interval+2*p.target.settings.ConnectTimeout+2*time.Second, errUnchecked)
	defer cancel()
	// Thousands of rows must not be read all the time.
	rest := time.Duration(len(places)) * 100 * time.Microsecond
	for pause := max(checkPoll/8, rest); ; pause = min(2*pause, max(checkPoll, rest)) {
		rows, err := servers(ctx, p.master, p.pid, backendsOf(places)...)
		if err != nil {
			return cause(ctx, err)
		}
		waiting := false
		for _, at := range places {
			row := rows[[2]string{at.backend, at.server}]
			if row.Address != at.slot.Address {
				return fmt.Errorf("HAProxy's server %s/%s has address %s and not %s, which it was told", at.backend, at.server, row.Address, at.slot.Address)
			}
			at.slot.Checked = row.Up()
			waiting = waiting || !row.Up() && !row.Down()
		}
		if !waiting {
			return nil
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return cause(ctx, ctx.Err())
		}
	}
}

// checkPoll is how often the outcome of checks is looked at, after the first few times: many are over at once.
const checkPoll = 25 * time.Millisecond

var errUnchecked = sdk.Unavailable(time.Second, "HAProxy has not checked the new instances in time; it is overloaded, or they answer neither yes nor no")

// cause prefers why a context ended to that it has.
func cause(ctx context.Context, err error) error {
	if c := context.Cause(ctx); c != nil {
		return c
	}
	return err
}

// gate refuses a change that would leave the requests of a pool without an instance that is up, unless
// they have none before it either.
func (p plane) gate(ctx context.Context, before, after *layout.Route) error {
	if before == nil {
		return nil
	}
	rows, err := p.servers(ctx, after)
	if err != nil {
		return unavailable(err)
	}
	if !works(before, rows) {
		return nil
	}
	if err := p.refresh(ctx, before, after, rows); err != nil {
		return unavailable(err)
	}
	for _, pool := range after.Spec.Pools {
		if pool.Weight == 0 || len(pool.Endpoints) == 0 || alive(after, pool.Revision, rows) {
			continue
		}
		if weightOf(before, pool.Revision) > 0 && !alive(before, pool.Revision, rows) {
			continue
		}
		return sdk.Conflict("revision %d would get requests, and HAProxy finds none of its %d instances up: %s; nothing was changed",
			pool.Revision, len(pool.Endpoints), findings(after, pool.Revision, rows))
	}
	return nil
}

func weightOf(r *layout.Route, revision int) int {
	for _, p := range r.Spec.Pools {
		if p.Revision == revision {
			return p.Weight
		}
	}
	return 0
}

// works says that some request of the route finds an instance that is up.
func works(r *layout.Route, rows table) bool {
	for _, p := range r.Spec.Pools {
		if p.Weight > 0 && alive(r, p.Revision, rows) {
			return true
		}
	}
	return false
}

func alive(r *layout.Route, revision int, rows table) bool {
	found := false
	r.EachSlot(func(backend, server string, b *layout.Backend, s *layout.Slot) {
		row := rows[[2]string{backend, server}]
		found = found || b.Revision == revision && s.Serving() && row.Address == s.Address && row.Up()
	})
	return found
}

// findings are the first few checks of a revision's instances.
func findings(r *layout.Route, revision int, rows table) string {
	var list []string
	r.EachSlot(func(backend, server string, b *layout.Backend, s *layout.Slot) {
		if b.Revision == revision && s.Serving() && len(list) < 3 {
			row := rows[[2]string{backend, server}]
			list = append(list, fmt.Sprintf("%s at %s is %s (%s)", s.ID, s.Wanted, row.Status, row.Check))
		}
	})
	return strings.Join(list, ", ")
}
