package proxy

import (
	"context"
	"errors"
	"maps"
	"net"
	"slices"
	"syscall"
	"time"

	"github.com/instarhq/instar/plugins/traffic/proxy/front"
	"github.com/instarhq/instar/plugins/traffic/proxy/route"
	"github.com/instarhq/instar/sdk"
)

// place is an address that routes listen at.
type place struct {
	listener *front.Listener // nil: could not be opened
	err      error           // why not
}

// listen opens a socket; the error is typed and names the address.
func listen(address string) (*net.TCPListener, error) {
	ln, err := new(net.ListenConfig).Listen(context.Background(), "tcp", address)
	switch {
	case err == nil:
		return ln.(*net.TCPListener), nil
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, sdk.Unavailable(0, "cannot listen at %s: the address is in use by another program or listener", address)
	case errors.Is(err, syscall.EACCES):
		return nil, sdk.InvalidConfig("listen", "cannot listen at %s: permission denied; ports under 1024 need CAP_NET_BIND_SERVICE", address)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return nil, sdk.Unavailable(0, "cannot listen at %s: this machine does not have the address", address)
	}
	return nil, sdk.Unavailable(0, "cannot listen at %s: %w", address, err)
}

// rules makes the rules of the listener at an address from the routes there, and says what is wrong with
// them together. routes are the wanted ones; objects has their data planes, d.routes if it has none.
func (d *Driver) rules(address string, routes map[string]sdk.Route, objects map[string]*route.Route) (front.Rules, error) {
	matches := make(map[*route.Route]route.Match)
	taken := make(map[route.Match]string)
	certs := make(map[string]*front.Certificate)
	here, err := sharing(address, routes)
	if err != nil || len(here) == 0 {
		return front.Rules{Table: route.NewTable(nil), Certs: front.NewCertificates(nil, d.logger)}, err
	}
	rules := front.Rules{TCP: here[0].Protocol == sdk.ProtocolTCP, TLS: here[0].TLS != nil}
	for _, r := range here {
		id := r.ID
		match, err := validate(r)
		if err != nil {
			return rules, err
		}
		if other, ok := taken[match]; ok {
			return rules, sdk.Conflict("routes %s and %s both want host %q and path %q at %s", min(id, other), max(id, other), r.Host, r.Path, address)
		}
		taken[match] = id
		matches[objects[id]] = match
		if r.TLS != nil {
			cert, err := d.certificate(*r.TLS)
			if err != nil {
				return rules, err
			}
			// Of several routes with one host and different paths, the shortest path's certificate counts.
			if certs[match.Host] == nil || match.Path == "" {
				certs[match.Host] = cert
			}
		}
	}
	rules.Table = route.NewTable(matches)
	rules.Certs = front.NewCertificates(certs, d.logger)
	return rules, nil
}

// sharing is the routes at an address, sorted by id. What they cannot share is said before a file is read.
func sharing(address string, routes map[string]sdk.Route) ([]sdk.Route, error) {
	var here []sdk.Route
	for _, id := range slices.Sorted(maps.Keys(routes)) {
		r := routes[id]
		if r.Listen != address {
			continue
		}
		if here = append(here, r); len(here) == 1 {
			continue
		}
		if err := together(here[0], r); err != nil {
			return nil, err
		}
	}
	return here, nil
}

// together says why two routes cannot share a listener, or nil.
func together(a, b sdk.Route) error {
	if a.Protocol == sdk.ProtocolTCP || b.Protocol == sdk.ProtocolTCP {
		return sdk.Conflict("routes %s and %s both listen at %s, and a tcp route needs a listener of its own", min(a.ID, b.ID), max(a.ID, b.ID), a.Listen)
	}
	if (a.TLS == nil) != (b.TLS == nil) {
		return sdk.Conflict("routes %s and %s share the listener %s: both have TLS, or none", min(a.ID, b.ID), max(a.ID, b.ID), a.Listen)
	}
	return nil
}

// certificate returns the key pair in these files, loaded once for all routes that use it.
func (d *Driver) certificate(files sdk.TLS) (*front.Certificate, error) {
	if c, ok := d.certs[files]; ok {
		return c, nil
	}
	c, err := front.LoadCertificate(files.CertificateFile, files.KeyFile)
	if err != nil {
		return nil, sdk.InvalidConfig("tls", "%w", err)
	}
	d.certs[files] = c
	return c, nil
}

// sweep forgets certificates that no route uses, and removed routes that are quiet.
func (d *Driver) sweep() {
	used := make(map[sdk.TLS]bool)
	for _, r := range d.state.Routes {
		if r.TLS != nil {
			used[*r.TLS] = true
		}
	}
	maps.DeleteFunc(d.certs, func(files sdk.TLS, _ *front.Certificate) bool { return !used[files] })
	for id, routes := range d.leaving {
		kept := routes[:0]
		for _, r := range routes {
			if !r.Quiet() {
				kept = append(kept, r)
			}
		}
		if d.leaving[id] = kept; len(kept) == 0 {
			delete(d.leaving, id)
		}
	}
}

// open makes a place of an address with the given rules.
func (d *Driver) open(address string, ln *net.TCPListener, rules front.Rules) {
	l := d.server.Listen(ln, rules)
	d.places[address] = &place{listener: l}
	l.Start()
}

// retryOpen is how often places that could not be opened after a restart are tried again.
const retryOpen = time.Second

// retry tries, until all places are open, those that could not be opened.
func (d *Driver) retry() {
	for {
		<-time.After(retryOpen)
		d.mu.Lock()
		failed := false
		if !d.superseded && !d.closed {
			for address, p := range d.places {
				if p.listener == nil {
					d.reopen(address)
					failed = failed || d.places[address].listener == nil
				}
			}
		}
		if !failed {
			d.retrying = false
			d.mu.Unlock()
			return
		}
		d.mu.Unlock()
	}
}

// reopen opens an address for the routes that there are.
func (d *Driver) reopen(address string) {
	rules, err := d.rules(address, d.state.Routes, d.routes)
	var ln *net.TCPListener
	if err == nil {
		ln, err = listen(address)
	}
	if err == nil {
		d.open(address, ln, rules)
	} else {
		d.places[address] = &place{err: err}
		if !d.retrying {
			d.retrying = true
			go d.retry()
		}
	}
	d.changed()
}

// socketFor returns a new socket for an address at which nobody listens yet, or nil.
func (d *Driver) socketFor(address string) (*net.TCPListener, error) {
	if p := d.places[address]; p != nil && p.listener != nil {
		return nil, nil
	}
	return listen(address)
}
