package proxy

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/instarhq/instar/plugins/traffic/proxy/handover"
	"github.com/instarhq/instar/plugins/traffic/proxy/route"
	"github.com/instarhq/instar/sdk"
)

// linkFormat is the number of the conversation between two processes. A process that knows another one
// refuses, and stays in charge.
const linkFormat = 1

// The conversation: the new process says hello, the old one sends its offer and one socket for each listener,
// the new one says that it is serving, the old one that it has retired. Then the new one sends orders
// until the old one has ended.
type (
	hello struct {
		Format int `json:"format"`
	}
	offer struct {
		Refusal   string                    `json:"refusal,omitempty"`
		State     json.RawMessage           `json:"state"`
		Listeners []string                  `json:"listeners"`
		Holds     map[string]sdk.HoldLimits `json:"holds,omitempty"` // with the time that is left
	}
	serving struct{}
	retired struct{}
)

// guard waits at the door for the process that takes over.
func (d *Driver) guard(door *handover.Door) {
	for {
		link, err := door.Accept()
		if err != nil {
			return // closed
		}
		if err := d.handOver(link); err != nil {
			d.logger.Warn("a process that wanted to take over did not", "error", err)
			_ = link.Close()
			continue
		}
		go d.obey(link)
		return
	}
}

// handOver gives sockets and state to the process at the other end of the link. Changes wait meanwhile,
// requests do not.
func (d *Driver) handOver(link *handover.Link) error {
	link.Within(startTimeout)
	var h hello
	if err := link.Receive(&h); err != nil {
		return err
	}
	if h.Format != linkFormat {
		refusal := offer{Refusal: "the process in charge is of another version and cannot hand over; end it first"}
		return errors.Join(errors.New("it is of another version"), link.Send(refusal))
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.usable(); err != nil {
		return err
	}
	if err := d.makeOffer(link); err != nil {
		return err
	}
	if err := link.Receive(&serving{}); err != nil {
		return err
	}
	d.logger.Info("another process has taken over; draining")
	d.superseded = true
	d.server.Retire()
	_ = d.door.Close()
	_ = d.lock.Release()
	d.changed()
	link.Within(0)
	_ = link.Send(retired{}) // there is no way back: if nobody hears it, obey will find out
	return nil
}

func (d *Driver) makeOffer(link *handover.Link) error {
	encoded, err := json.Marshal(d.state)
	if err != nil {
		return err
	}
	o := offer{State: encoded, Holds: make(map[string]sdk.HoldLimits)}
	for id, r := range d.routes {
		if limits, left := r.Held(); left > 0 {
			o.Holds[id] = sdk.HoldLimits{Requests: limits.Requests, Timeout: left}
		}
	}
	sockets := make([]*net.TCPListener, 0, len(d.places))
	for address, p := range d.places {
		if p.listener != nil {
			o.Listeners = append(o.Listeners, address)
			sockets = append(sockets, p.listener.Socket())
		}
	}
	if err := link.Send(o); err != nil {
		return err
	}
	for _, ln := range sockets {
		if err := link.SendSocket(ln); err != nil {
			return err
		}
	}
	return nil
}

// order is a change, or a question, that the process in charge passes on to the one before it, whose
// connections have to follow.
type order struct {
	Number  uint64     `json:"number"`
	Apply   *sdk.Route `json:"apply,omitempty"`
	Remove  *removal   `json:"remove,omitempty"`
	Hold    *holding   `json:"hold,omitempty"`
	Release string     `json:"release,omitempty"`
	Observe string     `json:"observe,omitempty"`
}

type removal struct {
	Route      string        `json:"route"`
	Generation uint64        `json:"generation"`
	Drain      time.Duration `json:"drain"`
}

type holding struct {
	Route  string         `json:"route"`
	Limits sdk.HoldLimits `json:"limits"`
}

// report answers an order, or is the last word of a process.
type report struct {
	Number      uint64                     `json:"number"` // of the order
	Error       string                     `json:"error,omitempty"`
	Observation *sdk.Observation           `json:"observation,omitempty"`
	Last        map[string]sdk.Observation `json:"last,omitempty"`
}

// obey follows the process that has taken over, until everything here is drained, and ends this process.
func (d *Driver) obey(link *handover.Link) {
	var sending sync.Mutex
	send := func(r report) error {
		sending.Lock()
		defer sending.Unlock()
		return link.Send(r)
	}
	left := make(chan struct{})
	go func() {
		defer close(left)
		for {
			var o order
			if link.Receive(&o) != nil {
				return
			}
			r := d.execute(o)
			r.Number = o.Number
			if send(r) != nil {
				return
			}
		}
	}()
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		d.drain()
	}()
	select {
	case <-drained:
		_ = send(report{Last: d.lastWords()}) // if nobody is there, nobody counts
	case <-left:
		d.sever()
		<-drained
	}
	_ = link.Close()
	<-left
	d.exit()
}

// sever refuses further requests: the process in charge is gone, and with it the knowledge of where they
// may go. Those in flight go on.
func (d *Driver) sever() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for id, r := range d.routes {
		spec := d.state.Routes[id]
		spec.Pools = nil
		r.Apply(spec, r.Options())
	}
	d.server.CloseIdle()
}

// drain waits until no client is left here and the process before this one has ended, at most until the
// longest drain deadline of a route; what is left then is closed.
func (d *Driver) drain() {
	d.mu.Lock()
	longest, before := d.longestDrain(), d.before
	d.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), longest)
	defer cancel()
	if d.server.Drained(ctx) != nil {
		d.server.CloseAll()
	}
	d.awaitCounted()
	if before != nil {
		<-before.gone
	}
}

// awaitCounted waits until requests whose clients are gone have been counted, which takes a moment.
func (d *Driver) awaitCounted() {
	for deadline := time.Now().Add(time.Second); time.Now().Before(deadline); <-time.After(time.Millisecond) {
		inFlight := 0
		d.mu.Lock()
		for id := range d.routes {
			o, _ := d.observe(id)
			for _, e := range append(endpointsOf(o), o.Draining...) {
				inFlight += e.InFlight
			}
		}
		d.mu.Unlock()
		if inFlight == 0 {
			return
		}
	}
}

// longestDrain is the longest time that a route gives its requests.
func (d *Driver) longestDrain() (longest time.Duration) {
	if len(d.leaving) > 0 {
		longest = route.DefaultDrain // their own deadlines run already
	}
	for _, r := range d.state.Routes {
		if r.Drain <= 0 {
			r.Drain = route.DefaultDrain
		}
		longest = max(longest, r.Drain)
	}
	return longest
}

func (d *Driver) lastWords() map[string]sdk.Observation {
	d.mu.Lock()
	defer d.mu.Unlock()
	last := make(map[string]sdk.Observation)
	for id := range d.routes {
		if o, ok := d.observeAll(id); ok {
			last[id] = o
		}
	}
	return last
}

// execute carries out an order of the process in charge.
func (d *Driver) execute(o order) (r report) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case o.Apply != nil:
		d.applyHere(*o.Apply)
	case o.Remove != nil:
		spec := d.state.Routes[o.Remove.Route]
		d.state = d.without(o.Remove.Route, o.Remove.Generation)
		d.takeAway(o.Remove.Route, spec, o.Remove.Drain)
	case o.Hold != nil:
		if route := d.routes[o.Hold.Route]; route != nil {
			route.Hold(o.Hold.Limits)
		}
	case o.Release != "":
		if route := d.routes[o.Release]; route != nil {
			route.Release()
		}
	case o.Observe != "":
		if seen, ok := d.observeAll(o.Observe); ok {
			r.Observation = &seen
		}
		return r
	}
	if err := d.follow(o); err != nil {
		r.Error = err.Error()
	}
	return r
}

// applyHere follows an Apply that the process in charge has checked and saved.
func (d *Driver) applyHere(spec sdk.Route) {
	old, existed := d.state.Routes[spec.ID]
	if existed && old.Generation >= spec.Generation {
		return
	}
	d.state.Routes[spec.ID] = spec
	if d.routes[spec.ID] == nil {
		d.routes[spec.ID] = route.New(spec.ID)
	}
	d.routes[spec.ID].Apply(spec, d.optionsOf(spec))
	for _, address := range slices.Compact([]string{spec.Listen, old.Listen}) {
		d.refresh(address)
	}
	d.sweep()
}
