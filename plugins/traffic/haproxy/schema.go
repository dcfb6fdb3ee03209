package haproxy

import (
	_ "embed" // the guide
	"encoding/json"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"time"

	"github.com/zclconf/go-cty/cty"

	"github.com/instarhq/instar/plugins/traffic/haproxy/layout"
	"github.com/instarhq/instar/sdk"
)

// Version is the driver's version.
const Version = "0.1.0"

var targetSchema = sdk.Schema{
	{
		Name: "master_socket", Type: cty.String, Default: cty.StringVal("/run/haproxy-master.sock"),
		Doc: "The master socket of HAProxy (haproxy -W -S PATH); Debian's service has it.",
	},
	{
		Name: "directory", Type: cty.String, Default: cty.StringVal("/etc/haproxy/instar"),
		Doc: "The directory of the generated part of the configuration; HAProxy loads it with a last -f.",
	},
	{
		Name: "binds", Type: cty.Map(cty.String),
		Doc: `What else a bind line has, by the address of the listener: { ":443" = "ssl crt /etc/haproxy/certs alpn h2,http/1.1" }.`,
	},
	{
		Name: "reload_command", Type: cty.List(cty.String),
		Doc: "The command that reloads HAProxy, such as systemctl reload haproxy; without it the master socket is told to.",
	},
	{
		Name: "slots", Type: cty.Number, Default: cty.NumberIntVal(16),
		Doc: "How many instances of a revision a route has room for without a reload, at least.",
	},
	{
		Name: "pools", Type: cty.Number, Default: cty.NumberIntVal(4),
		Doc: "How many revisions a route has room for without a reload, those included that are still being drained.",
	},
	{
		Name: "check_interval", Type: cty.String, Default: cty.StringVal("1s"),
		Doc: "How often HAProxy itself checks each instance.",
	},
	{
		Name: "connect_timeout", Type: cty.String, Default: cty.StringVal("2s"),
		Doc: "How long connecting to an instance, or a check of it, may take.",
	},
	{
		Name: "read_header_timeout", Type: cty.String, Default: cty.StringVal("10s"),
		Doc: "How long a client may take to send the head of a request.",
	},
	{
		Name: "idle_timeout", Type: cty.String, Default: cty.StringVal("75s"),
		Doc: "How long a connection of a client stays open between two requests, or a client may be silent during one.",
	},
	{
		Name: "tunnel_timeout", Type: cty.String, Default: cty.StringVal("1h"),
		Doc: "How long a WebSocket or TCP connection may be silent.",
	},
}

var routeSchema = sdk.Schema{
	{
		Name: "response_timeout", Type: cty.String, Default: cty.StringVal("60s"),
		Doc: "How long an instance may be silent before and during its answer; then the client gets 504.",
	},
	{
		Name: "balance", Type: cty.String, Default: cty.StringVal("least_in_flight"),
		Doc: "How an instance is chosen: least_in_flight (in turn among equals) or round_robin.",
	},
	{
		Name: "check_path", Type: cty.String, Default: cty.StringVal(""),
		Doc: "The path that HAProxy checks instances with: 2xx and 3xx are well; empty: a TCP connection is enough.",
	},
}

// target is the decoded target configuration.
type target struct {
	MasterSocket      string            `json:"master_socket"`
	Directory         string            `json:"directory"`
	Binds             map[string]string `json:"binds"`
	ReloadCommand     []string          `json:"reload_command"`
	Slots             int               `json:"slots"`
	Pools             int               `json:"pools"`
	CheckInterval     string            `json:"check_interval"`
	ConnectTimeout    string            `json:"connect_timeout"`
	ReadHeaderTimeout string            `json:"read_header_timeout"`
	IdleTimeout       string            `json:"idle_timeout"`
	TunnelTimeout     string            `json:"tunnel_timeout"`

	settings layout.Settings
	sizes    layout.Sizes
	seen     atomic.Int64 // the master's process id
}

// plainPath keeps paths from meaning something else in HAProxy's configuration.
var plainPath = regexp.MustCompile(`^/[A-Za-z0-9/._+@:-]*$`)

func decodeTarget(config json.RawMessage) (*target, error) {
	t := &target{}
	if err := sdk.Decode(targetSchema, config, t); err != nil {
		return nil, err
	}
	for name, path := range map[string]string{"master_socket": t.MasterSocket, "directory": t.Directory} {
		if !plainPath.MatchString(path) {
			return nil, sdk.InvalidConfig(name, "%q: it must be an absolute path of letters, digits and any of / . _ + @ : -", path)
		}
	}
	if t.Slots < 1 || t.Slots > 1000 {
		return nil, sdk.InvalidConfig("slots", "%d: it must be between 1 and 1000", t.Slots)
	}
	if t.Pools < 2 || t.Pools > 16 {
		return nil, sdk.InvalidConfig("pools", "%d: it must be between 2, for a switch needs two, and 16", t.Pools)
	}
	t.sizes = layout.Sizes{Pools: t.Pools, Slots: t.Slots}
	t.settings = layout.Settings{Directory: filepath.Clean(t.Directory), Binds: make(map[string]string)}
	for address, parameters := range t.Binds {
		if err := checkListen(address); err != nil {
			return nil, sdk.InvalidConfig("binds", "%q is no address such as :443: %w", address, err)
		}
		if strings.ContainsFunc(parameters, func(r rune) bool { return r < ' ' || r == '#' }) {
			return nil, sdk.InvalidConfig("binds", "%q: the parameters are one line without comment", address)
		}
		t.settings.Binds[address] = strings.TrimSpace(parameters)
	}
	if err := t.durations(); err != nil {
		return nil, err
	}
	return t, nil
}

func (t *target) durations() error {
	for _, a := range []struct {
		name, text string
		into       *time.Duration
	}{
		{"check_interval", t.CheckInterval, &t.settings.CheckInterval},
		{"connect_timeout", t.ConnectTimeout, &t.settings.ConnectTimeout},
		{"read_header_timeout", t.ReadHeaderTimeout, &t.settings.HeadTimeout},
		{"idle_timeout", t.IdleTimeout, &t.settings.IdleTimeout},
		{"tunnel_timeout", t.TunnelTimeout, &t.settings.TunnelTimeout},
	} {
		var err error
		if *a.into, err = duration(a.name, a.text); err != nil {
			return err
		}
	}
	return nil
}

// routeConfig is the decoded configuration of a route.
type routeConfig struct {
	ResponseTimeout string `json:"response_timeout"`
	Balance         string `json:"balance"`
	CheckPath       string `json:"check_path"`
}

func decodeRoute(config json.RawMessage) (layout.Options, error) {
	var c routeConfig
	if err := sdk.Decode(routeSchema, config, &c); err != nil {
		return layout.Options{}, err
	}
	timeout, err := duration("response_timeout", c.ResponseTimeout)
	if err != nil {
		return layout.Options{}, err
	}
	if c.Balance != "least_in_flight" && c.Balance != "round_robin" {
		return layout.Options{}, sdk.InvalidConfig("balance", "%q is neither least_in_flight nor round_robin", c.Balance)
	}
	if c.CheckPath != "" && !plainPath.MatchString(c.CheckPath) {
		return layout.Options{}, sdk.InvalidConfig("check_path", "%q: it begins with / and has letters, digits and any of / . _ + @ : -", c.CheckPath)
	}
	return layout.Options{ResponseTimeout: timeout, RoundRobin: c.Balance == "round_robin", CheckPath: c.CheckPath}, nil
}

// maxDuration is the longest that HAProxy takes.
const maxDuration = 24 * 24 * time.Hour

func duration(attribute, text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if err != nil {
		return 0, sdk.InvalidConfig(attribute, "%q is no duration such as 30s: %w", text, err)
	}
	if d < time.Millisecond || d > maxDuration {
		return 0, sdk.InvalidConfig(attribute, "%s: it must be between 1ms and %s", d, maxDuration)
	}
	return d, nil
}

//go:embed guide.md
var guide string

// describe implements Describe.
func describe() sdk.Description {
	return sdk.Description{
		Name: "haproxy", Version: Version, Kind: sdk.KindTraffic, Scope: sdk.ScopeNode,
		Doc: "HAProxy 2.4 and later on the same machine, over its master socket. The driver owns a generated part of the " +
			"configuration beside yours. Switches, weights, and instances that come and go are runtime commands; HAProxy is " +
			"reloaded, without losing a request, only for a new or removed route or listener. TLS is what you say in binds.",
		Capabilities: []sdk.Capability{sdk.CapHTTP, sdk.CapTCP},
		Target:       targetSchema,
		Workload:     routeSchema,
		Guide:        guide,
	}
}
