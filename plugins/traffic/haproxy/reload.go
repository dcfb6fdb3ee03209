package haproxy

import (
	"context"
	"errors"
	"net"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/instarhq/instar/plugins/traffic/haproxy/layout"
	"github.com/instarhq/instar/plugins/traffic/haproxy/socket"
	"github.com/instarhq/instar/sdk"
)

// prepare has HAProxy load the configuration of a state, with a reload if its shape is another than the
// present one.
func (d *Driver) prepare(ctx context.Context, t *target, state layout.State) (plane, error) {
	p, err := t.plane(ctx)
	if err != nil {
		return p, err
	}
	state.Version = p.version
	rendering := t.render(state)
	loaded, _, err := p.loaded(ctx, rendering.Marker)
	if err != nil {
		return p, unavailable(err)
	}
	if loaded {
		return p, t.writeConfig(rendering)
	}
	if err := p.vacant(ctx, d.store.state(), state); err != nil {
		return p, err
	}
	if err := t.writeMap(d.store.state().Entries()); err != nil {
		return p, err
	}
	if err := t.writeConfig(rendering); err != nil {
		return p, err
	}
	return d.reload(ctx, t, rendering.Marker)
}

// listens reports whether HAProxy has a listener at an address: that of a removed route goes with the next reload.
func (p plane) listens(ctx context.Context, address string) bool {
	answers, err := p.ask(ctx, "show stat "+layout.Listener(address)+" 1 -1")
	if err != nil {
		return false
	}
	fronts, err := socket.Servers(answers[0])
	return err == nil && slices.ContainsFunc(fronts, func(s socket.Server) bool { return s.Status == "OPEN" })
}

// vacant wants the addresses of new listeners to be free: HAProxy would find out only during the reload.
func (p plane) vacant(ctx context.Context, before, after layout.State) error {
	known := make(map[string]bool)
	for _, r := range before.Routes {
		known[r.Spec.Listen] = true
	}
	for _, r := range before.Gone { // the listener may still be there
		known[r.Spec.Listen] = true
	}
	for _, r := range after.Routes {
		if known[r.Spec.Listen] {
			continue
		}
		ln, err := new(net.ListenConfig).Listen(context.Background(), "tcp", r.Spec.Listen)
		switch {
		case err == nil:
			_ = ln.Close() // nobody has used it
		case errors.Is(err, syscall.EADDRINUSE):
			if p.listens(ctx, r.Spec.Listen) {
				continue
			}
			return sdk.Unavailable(0, "HAProxy cannot listen at %s: the address is in use by another program, or by another part of its configuration", r.Spec.Listen)
		case errors.Is(err, syscall.EADDRNOTAVAIL):
			return sdk.Unavailable(0, "HAProxy cannot listen at %s: this machine does not have the address", r.Spec.Listen)
		}
	}
	return nil
}

// reloadPatience is how long a reload may take: large configurations with many certificates need seconds.
const reloadPatience = 60 * time.Second

// reload makes HAProxy load what is on disk, and returns when a new worker with the marker serves and the
// old ones take nothing new.
func (d *Driver) reload(ctx context.Context, t *target, marker string) (plane, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, reloadPatience, sdk.Unavailable(time.Second, "HAProxy has not loaded its configuration anew within %s", reloadPatience))
	defer cancel()
	before, err := t.master().Processes(ctx)
	if err != nil {
		return plane{}, unavailable(err)
	}
	if err := verifyConfig(ctx, before.Master); err != nil {
		return plane{}, err
	}
	d.takeStock(ctx, t)
	if err := t.orderReload(ctx); err != nil {
		return plane{}, err
	}
	p, err := t.awaitReload(ctx, before, marker)
	if err != nil {
		return p, cause(ctx, unavailable(err))
	}
	d.logger.Info("HAProxy was reloaded", "worker", p.pid, "shape", marker)
	if err := t.awaitStopping(ctx, before); err != nil {
		return p, cause(ctx, err)
	}
	d.takeStock(ctx, t)
	return p, nil
}

func (t *target) orderReload(ctx context.Context) error {
	if len(t.ReloadCommand) > 0 {
		out, err := exec.CommandContext(ctx, t.ReloadCommand[0], t.ReloadCommand[1:]...).CombinedOutput()
		if err != nil {
			return sdk.Unavailable(time.Second, "the reload command %q: %w: %s", strings.Join(t.ReloadCommand, " "), err, lastLines(string(out)))
		}
		return nil
	}
	said, err := t.master().Reload(ctx)
	if strings.HasPrefix(said, "Success=0") {
		return sdk.Unavailable(time.Second, "HAProxy's reload failed, and it goes on with what it had: %s", lastLines(said))
	}
	// The master replaces itself by a new image of its program and may cut the connection before it answers.
	if err != nil && errors.Is(err, socket.ErrAbsent) {
		return unavailable(err)
	}
	return nil
}

// awaitReload waits for a worker that was not there before.
func (t *target) awaitReload(ctx context.Context, before socket.Processes, marker string) (plane, error) {
	known := func(w socket.Worker) bool {
		return slices.ContainsFunc(before.Workers, func(b socket.Worker) bool { return b.PID == w.PID })
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		now, err := t.master().Processes(ctx) // fails while the master replaces itself
		if err == nil {
			if w, ok := now.Current(); ok && !known(w) {
				p := plane{t, t.master(), w.PID, w.Version}
				this, some, err := p.loaded(ctx, marker)
				switch {
				case err == nil && this:
					return p, nil
				case err == nil:
					return p, t.notLoaded(some)
				}
			} else if failed(before, now) {
				return plane{}, sdk.Unavailable(time.Second, "HAProxy's reload failed, and it goes on with what it had; its log says why")
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return plane{}, ctx.Err()
		}
	}
}

// failed says that a reload is over without a new worker. Masters that do not count failures answer only after
// they have tried.
func failed(before, now socket.Processes) bool {
	return now.Failed > before.Failed || now.Failed < 0 && now.Reloads > before.Reloads
}

// notLoaded says that HAProxy reads another directory; other says that a driver writes there, too.
func (t *target) notLoaded(other bool) error {
	hint := ""
	if other {
		hint = "; what it has loaded is from another directory, or from another driver that writes to the same one"
	}
	return sdk.Unavailable(time.Second, "HAProxy does not load %s: give it a last -f %s (with Debian's service, add that to EXTRAOPTS in /etc/default/haproxy) and restart it once%s",
		t.settings.Directory, t.settings.Directory, hint)
}

// awaitStopping waits until the workers from before know that they are to stop: from then on they hand new
// requests to the present one.
func (t *target) awaitStopping(ctx context.Context, before socket.Processes) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for _, w := range before.Workers {
		for {
			answers, err := t.master().Ask(ctx, w.PID, "show info", "show sess 0x1")
			if err != nil && ctx.Err() == nil || err == nil && strings.Contains(answers[0], "\nStopping: 1\n") {
				break // it has ended, or stops
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
	return nil
}

func lastLines(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-6):], " | ")
}
