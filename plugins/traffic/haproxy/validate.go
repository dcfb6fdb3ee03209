package haproxy

import (
	"context"
	"net"
	"regexp"
	"slices"

	"github.com/instarhq/instar/plugins/traffic/haproxy/layout"
	"github.com/instarhq/instar/sdk"
)

var (
	hostName   = regexp.MustCompile(`^([a-zA-Z0-9_]([a-zA-Z0-9_-]{0,62}\.?)?)*$`)
	ipv6Host   = regexp.MustCompile(`^\[[0-9a-fA-F:.]+\]$`)
	listenHost = regexp.MustCompile(`^[a-zA-Z0-9:._-]*$`)
	pathPrefix = regexp.MustCompile(`^/[!$&'()*+,;=:@A-Za-z0-9/._~-]*$`)
)

// validate checks a route by itself.
func validate(r sdk.Route) error {
	if r.ID == "" {
		return sdk.InvalidConfig("id", "a route needs an id")
	}
	if r.Generation == 0 {
		return sdk.InvalidConfig("generation", "generations begin with 1")
	}
	if err := checkListen(r.Listen); err != nil {
		return sdk.InvalidConfig("listen", "%q is no address such as :8080 or 127.0.0.1:8080: %w", r.Listen, err)
	}
	if r.TLS != nil {
		return sdk.InvalidConfig("tls", "HAProxy's TLS is in the target's attribute binds, not in the route: binds = { %q = \"ssl crt FILE alpn h2,http/1.1\" }", r.Listen)
	}
	if err := sdk.CheckPools(r.Pools); err != nil {
		return err
	}
	switch r.Protocol {
	case sdk.ProtocolTCP:
		if r.Host != "" || r.Path != "" {
			return sdk.InvalidConfig("protocol", "a tcp route has neither host nor path: it owns its listener")
		}
		return nil
	case sdk.ProtocolHTTP:
		return validateMatch(r)
	}
	return sdk.InvalidConfig("protocol", "%q is neither http nor tcp", r.Protocol)
}

func validateMatch(r sdk.Route) error {
	if len(r.Host) > 255 || !hostName.MatchString(r.Host) && !ipv6Host.MatchString(r.Host) {
		return sdk.InvalidConfig("host", "%q is no host name; write it without a port", r.Host)
	}
	if r.Path != "" && (len(r.Path) > 1024 || !pathPrefix.MatchString(r.Path)) {
		return sdk.InvalidConfig("path", "%q is no path prefix: it begins with / and is written without %% escapes", r.Path)
	}
	return nil
}

func checkListen(address string) error {
	if err := sdk.CheckAddress(address); err != nil {
		return err
	}
	host, _, err := net.SplitHostPort(address)
	if err == nil && !listenHost.MatchString(host) {
		err = &net.AddrError{Err: "no such host", Addr: host}
	}
	return err
}

// compatible says what keeps a route from standing beside the others, or nil.
func compatible(routes map[string]*layout.Route, r sdk.Route) error {
	match, _ := layout.MatchOf(r)
	for id, other := range routes {
		if id == r.ID || other.Spec.Listen != r.Listen {
			continue
		}
		if r.Protocol == sdk.ProtocolTCP || other.Spec.Protocol == sdk.ProtocolTCP {
			return sdk.Conflict("routes %s and %s both listen at %s, and a tcp route needs a listener of its own", min(id, r.ID), max(id, r.ID), r.Listen)
		}
		if theirs, _ := layout.MatchOf(other.Spec); theirs == match {
			return sdk.Conflict("routes %s and %s both want host %q and path %q at %s", min(id, r.ID), max(id, r.ID), r.Host, r.Path, r.Listen)
		}
	}
	return nil
}

// resolve finds IP:port for the address of each endpoint. HAProxy's slots take nothing else.
func resolve(ctx context.Context, pools []sdk.Pool) (map[string]string, error) {
	addresses := make(map[string]string)
	for _, p := range pools {
		for _, e := range p.Endpoints {
			host, port, err := net.SplitHostPort(e.Address)
			if err != nil {
				return nil, sdk.InvalidConfig("pools", "endpoint %s: %w", e.ID, err)
			}
			if _, done := addresses[e.Address]; done {
				continue
			}
			if ip := net.ParseIP(host); ip != nil {
				addresses[e.Address] = net.JoinHostPort(ip.String(), port)
				continue
			}
			ips, err := net.DefaultResolver.LookupHost(ctx, host)
			if err != nil {
				return nil, sdk.Unavailable(0, "endpoint %s: the name in %q cannot be resolved: %w", e.ID, e.Address, err)
			}
			slices.SortStableFunc(ips, func(a, b string) int { return len(a) - len(b) }) // IPv4 first
			addresses[e.Address] = net.JoinHostPort(ips[0], port)
		}
	}
	return addresses, nil
}
