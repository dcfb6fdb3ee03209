package proxy

import (
	"encoding/json"
	"net/netip"
	"time"

	"github.com/zclconf/go-cty/cty"

	"github.com/instarhq/instar/plugins/traffic/proxy/front"
	"github.com/instarhq/instar/plugins/traffic/proxy/route"
	"github.com/instarhq/instar/sdk"
)

// Version is the driver's version.
const Version = "0.1.0"

var targetSchema = sdk.Schema{
	{
		Name: "max_connections", Type: cty.Number, Default: cty.NumberIntVal(20000),
		Doc: "How many client connections are open at a time over all listeners; further ones wait in the kernel's queue.",
	},
	{
		Name: "trusted_proxies", Type: cty.List(cty.String),
		Doc: "Networks (CIDR) of proxies in front of this one, whose X-Forwarded-* fields are believed and passed on.",
	},
	{
		Name: "read_header_timeout", Type: cty.String, Default: cty.StringVal("10s"),
		Doc: "How long a client may take to send the head of a request, or for a TLS handshake.",
	},
	{
		Name: "idle_timeout", Type: cty.String, Default: cty.StringVal("75s"),
		Doc: "How long a connection of a client stays open between two requests.",
	},
	{
		Name: "connect_patience", Type: cty.String, Default: cty.StringVal("1s"),
		Doc: "How long a request waits for an instance to take a connection after all of its route have refused one, so that a " +
			"short gap, such as a restart of dockerd makes, fails nobody; then the client gets 503. Nothing was sent when it waits, " +
			"at most 1000 requests of a route wait at a time, and none on a route without instances. 0 answers at once; at most 1m.",
	},
}

var routeSchema = sdk.Schema{
	{
		Name: "response_timeout", Type: cty.String, Default: cty.StringVal("60s"),
		Doc: "How long an instance may take from the end of a request to the first byte of its answer; then the client gets 504.",
	},
	{
		Name: "max_body", Type: cty.Number, Default: cty.NumberIntVal(0),
		Doc: "The largest request body in bytes, 0 for no limit; a larger one is answered with 413.",
	},
	{
		Name: "balance", Type: cty.String, Default: cty.StringVal("least_in_flight"),
		Doc: "How an instance is chosen: least_in_flight (in turn among equals) or round_robin.",
	},
}

// Describe implements sdk.Driver.
func (d *Driver) describe() sdk.Description {
	return sdk.Description{
		Name: "proxy", Version: Version, Kind: sdk.KindTraffic, Scope: sdk.ScopeNode,
		Doc: "A reverse proxy inside the driver itself: HTTP/1.1, HTTP/2 with and without TLS, WebSocket, TLS termination " +
			"with certificate files that are read again when they change, and plain TCP. A request is in flight on exactly " +
			"one revision; a switch loses none. Nothing else has to be installed.",
		Capabilities: []sdk.Capability{sdk.CapHTTP, sdk.CapTCP, sdk.CapTLS, sdk.CapHold},
		Target:       targetSchema,
		Workload:     routeSchema,
	}
}

// targetConfig is the decoded target configuration.
type targetConfig struct {
	MaxConnections    int      `json:"max_connections"`
	TrustedProxies    []string `json:"trusted_proxies"`
	ReadHeaderTimeout string   `json:"read_header_timeout"`
	IdleTimeout       string   `json:"idle_timeout"`
	ConnectPatience   string   `json:"connect_patience"`
}

func decodeTarget(config json.RawMessage) (front.Settings, error) {
	var c targetConfig
	s := front.DefaultSettings()
	if err := sdk.Decode(targetSchema, config, &c); err != nil {
		return s, err
	}
	if c.MaxConnections < 1 {
		return s, sdk.InvalidConfig("max_connections", "%d is no limit: it must be at least 1", c.MaxConnections)
	}
	s.MaxConnections = c.MaxConnections
	var err error
	if s.ReadHeaderTimeout, err = duration("read_header_timeout", c.ReadHeaderTimeout); err != nil {
		return s, err
	}
	if s.IdleTimeout, err = duration("idle_timeout", c.IdleTimeout); err != nil {
		return s, err
	}
	if s.ConnectPatience, err = patience(c.ConnectPatience); err != nil {
		return s, err
	}
	for _, text := range c.TrustedProxies {
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			return s, sdk.InvalidConfig("trusted_proxies", "%q is no network such as 10.0.0.0/8: %w", text, err)
		}
		s.TrustedProxies = append(s.TrustedProxies, prefix.Masked())
	}
	return s, nil
}

// routeConfig is the decoded configuration of a route.
type routeConfig struct {
	ResponseTimeout string `json:"response_timeout"`
	MaxBody         int64  `json:"max_body"`
	Balance         string `json:"balance"`
}

func decodeRoute(config json.RawMessage) (*route.Options, error) {
	var c routeConfig
	if err := sdk.Decode(routeSchema, config, &c); err != nil {
		return nil, err
	}
	o := &route.Options{MaxBody: c.MaxBody}
	var err error
	if o.ResponseTimeout, err = duration("response_timeout", c.ResponseTimeout); err != nil {
		return nil, err
	}
	if c.MaxBody < 0 {
		return nil, sdk.InvalidConfig("max_body", "%d bytes: it must not be negative", c.MaxBody)
	}
	switch c.Balance {
	case "least_in_flight":
		o.Balance = route.LeastInFlight
	case "round_robin":
		o.Balance = route.RoundRobin
	default:
		return nil, sdk.InvalidConfig("balance", "%q is neither least_in_flight nor round_robin", c.Balance)
	}
	return o, nil
}

// patienceMax keeps a mistake from letting clients wait for what does not come.
const patienceMax = time.Minute

func patience(text string) (time.Duration, error) {
	const attribute = "connect_patience"
	d, err := time.ParseDuration(text)
	if err != nil {
		return 0, sdk.InvalidConfig(attribute, "%q is no duration such as 1s: %w", text, err)
	}
	if d < 0 || d > patienceMax {
		return 0, sdk.InvalidConfig(attribute, "%s: it must be from 0, which is none, to %s", d, patienceMax)
	}
	return d, nil
}

func duration(attribute, text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if err != nil {
		return 0, sdk.InvalidConfig(attribute, "%q is no duration such as 30s: %w", text, err)
	}
	if d <= 0 {
		return 0, sdk.InvalidConfig(attribute, "%s: it must be more than nothing", d)
	}
	return d, nil
}
