package haproxy

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/instarhq/instar/plugins/traffic/haproxy/layout"
	"github.com/instarhq/instar/plugins/traffic/haproxy/socket"
	"github.com/instarhq/instar/sdk"
)

// converge makes the files and HAProxy what the state says, whatever came between: a crash in the middle of
// a change, a restart or a reload of HAProxy, somebody's hand. The lock is held.
func (d *Driver) converge(ctx context.Context) error {
	return steadily(ctx, func() error { return d.convergeOnce(ctx) })
}

// steadily repeats what may be repeated when a reload of HAProxy has cut it off.
func steadily(ctx context.Context, do func() error) error {
	for end := time.Now().Add(cutPatience); ; {
		err := do()
		if !errors.Is(err, socket.ErrCut) || time.Now().After(end) {
			return err
		}
		select {
		case <-time.After(settlePause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// cutPatience is how long answers may be cut off until that is no reload any more.
const cutPatience = 10 * time.Second

func (d *Driver) convergeOnce(ctx context.Context) error {
	t, err := d.configured()
	if err != nil {
		return err
	}
	state := d.store.state()
	if err := t.writeFiles(state); err != nil {
		return err
	}
	p, err := t.plane(ctx)
	if err != nil {
		return err
	}
	if p.version != state.Version { // what it understands may be something else, too
		state.Version = p.version
		if err := d.store.save(state); err != nil {
			return err
		}
		if err := t.writeFiles(state); err != nil {
			return err
		}
	}
	rendering := t.render(state)
	loaded, _, err := p.loaded(ctx, rendering.Marker)
	if err != nil {
		return unavailable(err)
	}
	if !loaded {
		if p, err = d.reload(ctx, t, rendering.Marker); err != nil {
			return err
		}
	}
	if err := p.commit(ctx, state); err != nil {
		return unavailable(err)
	}
	return unavailable(d.repair(ctx, p, state))
}

// repair makes every server what its slot says.
func (d *Driver) repair(ctx context.Context, p plane, state layout.State) error {
	rows, err := p.servers(ctx, state.Ordered()...)
	if err != nil {
		return err
	}
	next := state.Clone()
	var commands []string
	var joining []place
	changed := d.counts.carry(ctx, p, next)
	order := func(at place, state string) {
		commands = append(commands, fmt.Sprintf("set server %s/%s state %s", at.backend, at.server, state))
	}
	for _, r := range next.Ordered() {
		for _, at := range pick(r, func(*layout.Slot) bool { return true }) {
			row, ok := rows[[2]string{at.backend, at.server}]
			here := row.Address == at.slot.Address
			switch s := at.slot; {
			case !ok:
				return sdk.Unavailable(time.Second, "HAProxy has no server %s/%s, though it has loaded the configuration with it", at.backend, at.server)
			case s.Serving() && (!here || row.Maintenance()):
				joining = append(joining, at)
			case s.Serving() && row.Draining():
				order(at, "ready")
			case s.Serving() && row.Up() && !s.Checked:
				s.Checked, changed = true, true
			case s.Leaving() && here && !row.Draining() && !row.Maintenance() && !row.Down():
				order(at, "drain")
			case s.Free() && !row.Maintenance():
				order(at, "maint")
			}
		}
	}
	if _, err := p.ask(ctx, commands...); err != nil {
		return err
	}
	if len(joining) > 0 {
		changed = true
		if err := p.join(ctx, joining); err != nil {
			return err
		}
		if err := p.each(ctx, "set server %s/%s state ready", joining); err != nil {
			return err
		}
	}
	if !changed {
		return nil
	}
	if err := d.store.save(next); err != nil {
		return err
	}
	return p.target.writeConfig(p.target.render(next))
}
