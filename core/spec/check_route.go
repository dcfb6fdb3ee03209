package spec

import (
	"fmt"
	"net/netip"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/instarhq/instar/core"
)

func contains(list []string, s string) bool { return slices.Contains(list, s) }

func (s *serviceChecker) routeSpecs() {
	for i := range s.spec.Routes {
		s.routeSpec(&s.spec.Routes[i])
	}
}

func (s *serviceChecker) routeSpec(r *core.RouteSpec) {
	at := func(steps ...string) []string { return append([]string{"route", r.Name}, steps...) }
	in := func(steps ...string) []string { return append([]string{"service", s.name}, at(steps...)...) }
	s.checkName("route", r.Name, in("name")...)
	s.checkName("driver", r.Driver, in("driver")...)
	if r.Target != "" {
		s.checkName("target", r.Target, in("target")...)
	}
	if _, _, ok := splitListen(r.Listen); !ok {
		s.fault("Invalid listen address", fmt.Sprintf(`A listen address is "host:port" or ":port" with a port from 1 to 65535, as in ":8080", "127.0.0.1:8080" or "[::1]:8080"; not %q.`, r.Listen), at("listen")...)
	}
	if !s.hasPort(r.Port) {
		s.fault("Unknown port", s.unknownPort(r.Port), at("port")...)
	}
	switch r.Protocol {
	case core.ProtocolHTTP:
	case core.ProtocolTCP:
		if r.Host != "" || r.Path != "" {
			s.fault("Not for TCP", "A tcp route sees no requests: host and path belong to protocol http.", at("protocol")...)
		}
	default:
		s.fault("Unknown protocol", fmt.Sprintf("A route's protocol is http (with HTTP/2 and WebSocket) or tcp, not %q.", r.Protocol), at("protocol")...)
	}
	if r.Host != "" && !validHost(r.Host) {
		s.fault("Invalid host", fmt.Sprintf("A host is one exact name, without port or wildcard, as in shop.example; not %q.", r.Host), at("host")...)
	}
	if r.Path != "" && !validPrefix(r.Path) {
		s.fault("Invalid path", fmt.Sprintf("A path begins with /, has no empty, . or .. segments and neither query nor spaces; not %q.", r.Path), at("path")...)
	}
	if r.TLS != nil && (r.TLS.Certificate == "" || r.TLS.Key == "") {
		s.fault("Incomplete TLS", "TLS needs the paths of both a certificate and a key, on the traffic nodes.", at("tls")...)
	}
	s.duration("drain", r.Drain, time.Millisecond, 24*time.Hour, at("drain")...)
	s.config(r.Config, false, at("config")...)
}

var hostRE = regexp.MustCompile(`^([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$`)

func validHost(host string) bool {
	return len(host) <= 253 && hostRE.MatchString(host)
}

func validPrefix(p string) bool {
	return strings.HasPrefix(p, "/") && path.Clean(p) == p && len(p) <= 4096 &&
		!strings.ContainsFunc(p, func(r rune) bool { return r <= ' ' || r == '?' || r == '#' || r > '~' })
}

// splitListen splits a listen address into host (without brackets, may be empty) and port.
func splitListen(listen string) (host, port string, ok bool) {
	colon := strings.LastIndexByte(listen, ':')
	if colon < 0 {
		return "", "", false
	}
	host, port = listen[:colon], listen[colon+1:]
	n, err := strconv.Atoi(port)
	if err != nil || n < 1 || n > 65535 || strconv.Itoa(n) != port {
		return "", "", false
	}
	if strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]") {
		host = host[1 : len(host)-1]
		addr, err := netip.ParseAddr(host)
		return host, port, err == nil && addr.Is6()
	}
	return host, port, host == "" || validHost(host)
}

// RouteConflict says why two routes cannot both be in effect on one traffic target, or "" if they can.
func RouteConflict(a, b *core.RouteSpec) string {
	if a.Driver != b.Driver || a.Target != b.Target && a.Target != "" && b.Target != "" {
		return ""
	}
	hostA, portA, _ := splitListen(a.Listen)
	hostB, portB, _ := splitListen(b.Listen)
	if portA != portB {
		return ""
	}
	if hostA != hostB {
		if wildcard(hostA) || wildcard(hostB) {
			return fmt.Sprintf("the listeners %s and %s overlap; use the same address in both", a.Listen, b.Listen)
		}
		return ""
	}
	switch {
	case a.Protocol != core.ProtocolHTTP || b.Protocol != core.ProtocolHTTP:
		return fmt.Sprintf("both listen on %s, which only http routes can share", a.Listen)
	case (a.TLS == nil) != (b.TLS == nil):
		return fmt.Sprintf("of the routes on %s either all have tls or none", a.Listen)
	case a.Host == b.Host && a.Path == b.Path:
		return fmt.Sprintf("both take the same requests on %s: give one another host or path", a.Listen)
	}
	return ""
}

func wildcard(host string) bool { return host == "" || host == "0.0.0.0" || host == "::" }
