package proxy

import (
	"errors"
	"maps"
	"net"
	"slices"
	"time"

	"github.com/instarhq/instar/plugins/traffic/proxy/front"
	"github.com/instarhq/instar/plugins/traffic/proxy/handover"
	"github.com/instarhq/instar/plugins/traffic/proxy/route"
	"github.com/instarhq/instar/plugins/traffic/proxy/state"
	"github.com/instarhq/instar/sdk"
)

// startTimeout bounds the way into charge, and each step of a hand-over.
const startTimeout = 10 * time.Second

// startPoll is how often a process looks whether the one before it has given way.
const startPoll = 5 * time.Millisecond

// start takes charge of a state directory: from the process that is in charge, with its sockets, or from
// what the last one has left on disk. It is called with d.starting held; further calls do nothing.
func (d *Driver) start(dir string) error {
	d.mu.Lock()
	started := d.dir != ""
	d.mu.Unlock()
	if started || d.startOverLost(dir) {
		return nil
	}
	for deadline := time.Now().Add(startTimeout); ; <-time.After(startPoll) {
		link, err := handover.Dial(dir)
		switch {
		case err == nil:
			if err = d.takeOver(dir, link); err == nil {
				return nil
			}
			_ = link.Close()
		case errors.Is(err, handover.ErrNobody):
			var lock *handover.Lock
			if lock, err = handover.TakeLock(dir); err == nil {
				return d.restore(dir, lock)
			}
			if !errors.Is(err, handover.ErrLocked) {
				return err
			}
		default:
			return err
		}
		// Somebody is just taking charge, or giving it up.
		if time.Now().After(deadline) {
			return err
		}
	}
}

// startOverLost takes over from a process that still serves though the directory, with all that it
// remembered, was lost; false if there is none.
func (d *Driver) startOverLost(dir string) bool {
	link, err := handover.DialLost(dir)
	if err != nil {
		return false
	}
	if err = d.takeOver(dir, link); err != nil {
		_ = link.Close()
		d.logger.Warn("a process that serves without its state directory did not hand over", "error", err)
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.save(d.state); err != nil {
		d.logger.Error("what was taken over is not on disk yet; the next change will bring it there", "error", err)
	}
	return true
}

// restore serves what is on disk.
func (d *Driver) restore(dir string, lock *handover.Lock) error {
	s, err := state.Load(dir)
	if err != nil {
		return errors.Join(err, lock.Release())
	}
	door, err := handover.Open(dir)
	if err != nil {
		return errors.Join(err, lock.Release())
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.dir, d.lock, d.door = dir, lock, door
	d.adopt(s)
	for _, address := range d.addresses() {
		d.reopen(address)
	}
	d.changed()
	go d.guard(door)
	return nil
}

// adopt takes over a state, but for its listeners.
func (d *Driver) adopt(s state.State) {
	d.state = s
	if s.Configure != nil {
		if settings, err := decodeTarget(s.Configure.Config); err == nil {
			d.server.Set(settings)
		} else {
			d.logger.Error("the remembered configuration is not valid any more; defaults are in force until Configure", "error", err)
		}
	}
	d.routes = make(map[string]*route.Route)
	for id, spec := range s.Routes {
		r := route.New(id)
		r.Apply(spec, d.optionsOf(spec))
		d.routes[id] = r
	}
}

// optionsOf decodes the settings of a route that was accepted before, maybe by another version.
func (d *Driver) optionsOf(spec sdk.Route) *route.Options {
	options, err := decodeRoute(spec.Config)
	if err != nil {
		d.logger.Error("the route's settings are not valid any more; defaults are in force", "route", spec.ID, "error", err)
		if options, err = decodeRoute(nil); err != nil {
			return &route.Options{ResponseTimeout: time.Minute}
		}
	}
	return options
}

// addresses lists where routes listen.
func (d *Driver) addresses() []string {
	set := make(map[string]bool)
	for _, r := range d.state.Routes {
		set[r.Listen] = true
	}
	return slices.Sorted(maps.Keys(set))
}

// takeOver takes sockets and state from the process at the other end of the link, while that one goes on
// serving, serves too, and then tells it to stop accepting.
func (d *Driver) takeOver(dir string, link *handover.Link) error {
	link.Within(startTimeout)
	if err := link.Send(hello{Format: linkFormat}); err != nil {
		return err
	}
	var got offer
	if err := link.Receive(&got); err != nil {
		return err
	}
	if got.Refusal != "" {
		return errors.New(got.Refusal)
	}
	s, err := state.Decode(got.State)
	if err != nil {
		return err
	}
	sockets := make(map[string]*net.TCPListener)
	for _, address := range got.Listeners {
		if sockets[address], err = link.ReceiveSocket(); err != nil {
			break
		}
	}
	if err != nil {
		delete(sockets, "")
		for _, ln := range sockets {
			if ln != nil {
				_ = ln.Close() // our copy
			}
		}
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.adopt(s)
	d.openAll(sockets)
	for id, h := range got.Holds {
		if r := d.routes[id]; r != nil {
			r.Hold(h)
		}
	}
	if err := d.relieve(dir, link); err != nil {
		d.abandon()
		return err
	}
	return nil
}

// openAll listens with the given sockets, and opens what the earlier process could not open.
func (d *Driver) openAll(sockets map[string]*net.TCPListener) {
	for _, address := range d.addresses() {
		ln := sockets[address]
		if ln == nil {
			d.reopen(address)
			continue
		}
		rules, err := d.rules(address, d.state.Routes, d.routes)
		if err != nil {
			d.logger.Error("the listener cannot be taken over", "listener", address, "error", err)
			_ = ln.Close() // our copy; the port is free when the earlier process lets go of its own
			d.reopen(address)
			continue
		}
		d.open(address, ln, rules)
	}
	for address, ln := range sockets {
		if d.places[address] == nil {
			_ = ln.Close() // nobody wants it
		}
	}
}

// relieve ends the charge of the earlier process and begins this one's.
func (d *Driver) relieve(dir string, link *handover.Link) error {
	if err := link.Send(serving{}); err != nil {
		return err
	}
	var r retired
	if err := link.Receive(&r); err != nil {
		d.logger.Warn("the earlier process ended during the hand-over", "error", err)
	}
	var lock *handover.Lock
	var err error
	for deadline := time.Now().Add(startTimeout); ; <-time.After(startPoll) {
		if lock, err = handover.TakeLock(dir); err == nil {
			break
		}
		if !errors.Is(err, handover.ErrLocked) || time.Now().After(deadline) {
			return err
		}
	}
	door, err := handover.Open(dir)
	if err != nil {
		return errors.Join(err, lock.Release())
	}
	link.Within(0)
	d.dir, d.lock, d.door = dir, lock, door
	d.before = follow(link, d.logger)
	d.changed()
	go d.guard(door)
	return nil
}

// abandon gives up what takeOver has begun.
func (d *Driver) abandon() {
	for _, p := range d.places {
		if p.listener != nil {
			p.listener.Close()
		}
	}
	d.places = make(map[string]*place)
	d.routes = make(map[string]*route.Route)
	d.state = state.New()
	d.server.CloseAll()
	d.server = front.NewServer(d.logger)
}
