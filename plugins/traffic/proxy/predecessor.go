package proxy

import (
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/instarhq/instar/plugins/traffic/proxy/handover"
	"github.com/instarhq/instar/sdk"
)

// orderTimeout bounds how long a change waits for the process before this one to follow it.
const orderTimeout = 5 * time.Second

// predecessor is the process that was in charge before, while it drains. Its connections may still bring
// requests, so it follows every change, and what it has in flight is observed.
type predecessor struct {
	link    *handover.Link
	logger  hclog.Logger
	asking  sync.Mutex // one order at a time
	number  uint64     // of the last order
	reports chan report
	gone    chan struct{} // closed when it has ended

	mu   sync.Mutex
	last map[string]sdk.Observation // what it has said last of each route: its counters outlive it
}

func follow(link *handover.Link, logger hclog.Logger) *predecessor {
	p := &predecessor{
		link: link, logger: logger, reports: make(chan report, 16), gone: make(chan struct{}),
		last: make(map[string]sdk.Observation),
	}
	go p.listen()
	return p
}

// listen receives reports until the process has ended.
func (p *predecessor) listen() {
	defer close(p.gone)
	for {
		var r report
		if err := p.link.Receive(&r); err != nil {
			_ = p.link.Close()
			return
		}
		p.remember(r)
		if r.Last != nil {
			continue
		}
		select {
		case p.reports <- r:
		default: // of an order that was given up; asking goes on with a newer one
		}
	}
}

// remember keeps what a report says of routes. Reports come in order, so the last one counts.
func (p *predecessor) remember(r report) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if r.Observation != nil {
		p.last[r.Observation.Route] = *r.Observation
	}
	if r.Last != nil {
		p.last = r.Last
	}
}

// ask sends an order and waits for its report. ok is false if the process has ended.
func (p *predecessor) ask(o order) (r report, ok bool, err error) {
	p.asking.Lock()
	defer p.asking.Unlock()
	p.number++
	o.Number = p.number
	if p.link.SendWithin(orderTimeout, o) != nil {
		<-p.gone
		return r, false, nil
	}
	timer := time.NewTimer(orderTimeout)
	defer timer.Stop()
	for {
		select {
		case r = <-p.reports:
			if r.Number == o.Number { // else nobody waited for it any more
				return r, true, nil
			}
		case <-p.gone:
			return r, false, nil
		case <-timer.C:
			return r, false, sdk.Unavailable(time.Second, "the process of the proxy that ran before this one does not follow; its connections may still be served as before")
		}
	}
}

// observe reads one route back. After the process has ended its counters stay, and nothing is in flight.
func (p *predecessor) observe(id string) (sdk.Observation, bool) {
	if r, ok, err := p.ask(order{Observe: id}); ok && err == nil {
		if r.Observation == nil {
			return sdk.Observation{}, false
		}
		return *r.Observation, true
	} else if err != nil {
		p.logger.Warn("the earlier process cannot be observed", "error", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	o, ok := p.last[id]
	if p.ended() {
		o = counters(o)
	}
	return o, ok
}

func (p *predecessor) ended() bool {
	select {
	case <-p.gone:
		return true
	default:
		return false
	}
}

// counters is what is left of an observation after its process has ended.
func counters(o sdk.Observation) sdk.Observation {
	left := sdk.Observation{Route: o.Route, Generation: o.Generation}
	for _, e := range append(endpointsOf(o), o.Draining...) {
		e.InFlight, e.Latency = 0, sdk.Latency{}
		left.Draining = append(left.Draining, e)
	}
	return left
}

// follow passes a change on to the process before this one, if there is one.
func (d *Driver) follow(o order) error {
	if d.before == nil {
		return nil
	}
	r, _, err := d.before.ask(o)
	if err == nil && r.Error != "" {
		err = sdk.Unavailable(time.Second, "%s", r.Error)
	}
	return err
}
