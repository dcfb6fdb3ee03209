package haproxy

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/instarhq/instar/plugins/traffic/haproxy/layout"
	"github.com/instarhq/instar/plugins/traffic/haproxy/socket"
	"github.com/instarhq/instar/sdk"
)

// plane is HAProxy's worker that takes new connections.
type plane struct {
	target *target
	master socket.Master
	pid    int

	version string
}

// unavailable types what went wrong on the way to HAProxy.
func unavailable(err error) error {
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || sdk.CodeOf(err) != sdk.CodeInternal {
		return err
	}
	return sdk.Unavailable(time.Second, "%w", err)
}

// plane finds the present worker.
func (t *target) plane(ctx context.Context) (plane, error) {
	procs, err := t.master().Processes(ctx)
	if err != nil {
		return plane{}, unavailable(err)
	}
	w, ok := t.master().Present(ctx, procs)
	if !ok {
		return plane{}, sdk.Unavailable(time.Second, "HAProxy's master at %s has no worker: its log says why it could not start one", t.MasterSocket)
	}
	if !layout.Supported(w.Version) {
		return plane{}, sdk.Unavailable(time.Minute, "HAProxy is version %s; the driver needs 2.4 or later", w.Version)
	}
	return plane{t, t.master(), w.PID, w.Version}, nil
}

func (p plane) ask(ctx context.Context, commands ...string) ([]string, error) {
	return p.master.Ask(ctx, p.pid, commands...)
}

// loaded says whether the worker has the configuration with the given marker, and whether it has any of
// this driver's.
func (p plane) loaded(ctx context.Context, marker string) (this, other bool, err error) {
	answers, err := p.ask(ctx, "show backend", "show cli level")
	if err != nil {
		return false, false, err
	}
	if level := strings.TrimSpace(answers[1]); level != "admin" {
		return false, false, sdk.Unavailable(time.Minute, "the master socket %s has level %s: give -S level admin, or leave the level out", p.target.MasterSocket, level)
	}
	for name := range strings.Lines(answers[0]) {
		name = strings.TrimSpace(name)
		this = this || name == marker
		other = other || layout.Marks(name)
	}
	return this, other, nil
}

func (t *target) mapFile() string { return filepath.Join(t.settings.Directory, layout.MapFile) }

// entries reads the map back.
func (p plane) entries(ctx context.Context) ([]socket.Entry, error) {
	answers, err := p.ask(ctx, "show map "+p.target.mapFile())
	if err != nil {
		return nil, err
	}
	if strings.HasPrefix(answers[0], "Unknown map") {
		return nil, nil
	}
	return socket.Entries(answers[0]), nil
}

// commit makes the map that of a state, first on disk, then, in one step, in HAProxy's memory. When it
// returns, no request is on its way to where the old map sent it without being counted there.
func (p plane) commit(ctx context.Context, state layout.State) error {
	entries := state.Entries()
	if err := p.target.writeMap(entries); err != nil {
		return err
	}
	have, err := p.entries(ctx)
	if err != nil || sameEntries(have, entries) {
		return err
	}
	file := p.target.mapFile()
	answers, err := p.ask(ctx, "prepare map "+file)
	if err != nil {
		return err
	}
	_, version, ok := strings.Cut(strings.TrimSpace(answers[0]), "New version created: ")
	if !ok {
		if strings.HasPrefix(answers[0], "Unknown map") && len(state.Routes) == 0 {
			return nil // no frontend, no map
		}
		return fmt.Errorf("HAProxy prepares no new version of the map %s: %s", file, strings.TrimSpace(answers[0]))
	}
	for chunk := range slices.Chunk(entries, 64) {
		var payload strings.Builder
		for _, e := range chunk {
			fmt.Fprintf(&payload, "%s %s\n", e.Key, e.Value)
		}
		answer, err := p.master.Send(ctx, p.pid, "add map @"+version+" "+file, payload.String())
		if err != nil {
			return err
		}
		if answer != "" {
			return fmt.Errorf("HAProxy refuses entries of the map %s: %s", file, strings.TrimSpace(answer))
		}
	}
	// show sess stops all of its threads for a moment, which no thread allows in the middle of routing a
	// request: after it, what the old map has decided is in the servers' counts.
	answers, err = p.ask(ctx, "commit map @"+version+" "+file, "show sess 0x1")
	if err != nil {
		return err
	}
	if answers[0] != "" {
		return fmt.Errorf("HAProxy does not commit the map %s: %s", file, strings.TrimSpace(answers[0]))
	}
	return nil
}

func sameEntries(a, b []socket.Entry) bool {
	compare := func(a, b socket.Entry) int { return strings.Compare(a.Key+" "+a.Value, b.Key+" "+b.Value) }
	a, b = slices.Clone(a), slices.Clone(b)
	slices.SortFunc(a, compare)
	slices.SortFunc(b, compare)
	return slices.Equal(a, b)
}

// table is what show stat says of servers, by backend and name.
type table map[[2]string]socket.Server

// servers reads the servers of the given backends.
func servers(ctx context.Context, m socket.Master, pid int, backends ...string) (table, error) {
	commands := make([]string, len(backends))
	for i, b := range backends {
		commands[i] = "show stat " + b + " 4 -1"
	}
	answers, err := m.Ask(ctx, pid, commands...)
	if err != nil {
		return nil, err
	}
	rows := make(table)
	for i, answer := range answers {
		if !strings.HasPrefix(answer, "# ") {
			continue // a worker that never loaded this backend
		}
		list, err := socket.Servers(answer)
		if err != nil {
			return nil, fmt.Errorf("HAProxy's backend %s: %w", backends[i], err)
		}
		for _, s := range list {
			rows[[2]string{s.Backend, s.Name}] = s
		}
	}
	return rows, nil
}

func (p plane) servers(ctx context.Context, routes ...*layout.Route) (table, error) {
	var backends []string
	for _, r := range routes {
		for i := range r.Backends {
			backends = append(backends, r.BackendName(i))
		}
	}
	return servers(ctx, p.master, p.pid, backends...)
}
