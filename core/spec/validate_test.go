package spec_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/spec"
)

// minimal is the least that the API takes.
const minimal = `{"services": [{"name": "web", "count": 1, "spec": {"compute": {"driver": "process", "config": {"command": ["x"]}}}}]}`

func decodeSet(t testing.TB, data string) core.Set {
	t.Helper()
	var set core.Set
	if err := json.Unmarshal([]byte(data), &set); err != nil {
		t.Fatal(err)
	}
	return set
}

func TestAdmitFillsDefaults(t *testing.T) {
	set := decodeSet(t, minimal)
	set.Services[0].Spec.Ports = []core.Port{{Name: "http"}}
	set.Services[0].Spec.Health = []core.HealthCheck{{Type: core.CheckHTTP, Port: "http"}}
	set.Services[0].Spec.Routes = []core.RouteSpec{{Name: "web", Listen: ":80", Port: "http"}}
	set.Services[0].Spec.Rollout.Smoke = []core.SmokeCheck{{Route: "web"}}
	before, _ := core.DigestJSON(set)
	got, err := spec.Admit(set, testDrivers)
	if err != nil {
		t.Fatal(err)
	}
	if after, _ := core.DigestJSON(set); after != before {
		t.Error("Admit changed its argument")
	}
	s := got.Services[0].Spec
	if string(s.Compute.Config) != `{"command":["x"],"user":"nobody"}` || string(s.Routes[0].Config) != `{"max_body":1048576}` {
		t.Errorf("configuration %s, %s", s.Compute.Config, s.Routes[0].Config)
	}
	second := core.Duration(time.Second)
	if s.Grace != 10*second || s.Routes[0].Drain != 30*second || s.Routes[0].Driver != "proxy" || s.Health[0].Interval != 5*second ||
		s.Health[0].Path != "/" || s.Rollout.Smoke[0].Method != http.MethodGet || s.Rollout.ProgressDeadline != 600*second {
		t.Errorf("got %+v", s)
	}
	if s.Rollout.Bake != 0 || s.Rollout.KeepPrevious != 0 {
		t.Errorf("a rollout that says something keeps its zeros: %+v", s.Rollout)
	}
	plain, err := spec.Admit(decodeSet(t, minimal), testDrivers)
	if err != nil {
		t.Fatal(err)
	}
	if r := plain.Services[0].Spec.Rollout; r.Bake != 30*second || r.KeepPrevious != 3600*second || r.Strategy != core.StrategyBlueGreen {
		t.Errorf("a rollout that says nothing has all defaults: %+v", r)
	}
}

// TestValidateTrustsNothing changes one thing after the other of a good set.
func TestValidateTrustsNothing(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*core.Set, *core.Spec)
		want   string
	}{
		"driver":         {func(_ *core.Set, s *core.Spec) { s.Compute.Driver = "procezz" }, `service "web", compute, driver: No node has published a compute driver named "procezz". Did you mean "process"?`},
		"traffic driver": {func(_ *core.Set, s *core.Spec) { s.Routes[0].Driver = "nginx" }, `route "web", driver: No node has published a traffic driver`},
		"unknown":        {func(_ *core.Set, s *core.Spec) { s.Compute.Config = []byte(`{"command":["x"],"comand":1}`) }, `service "web", compute, config "comand": The driver has no attribute "comand". Did you mean "command"?`},
		"route config":   {func(_ *core.Set, s *core.Spec) { s.Routes[0].Config = []byte(`{"max":1}`) }, `route "web", config "max"`},
		"nested": {func(_ *core.Set, s *core.Spec) {
			s.Compute.Config = []byte(`{"command":["x"],"limits":[{"name":"a"},{"nam":"b"}]}`)
		}, `at [1]`},
		"missing":       {func(_ *core.Set, s *core.Spec) { s.Compute.Config = []byte(`{"command":null}`) }, `The driver requires "command"`},
		"type":          {func(_ *core.Set, s *core.Spec) { s.Compute.Config = []byte(`{"command":["x"],"nice":"many"}`) }, `"nice" must be a number`},
		"not an object": {func(_ *core.Set, s *core.Spec) { s.Compute.Config = []byte(`[1]`) }, "not a JSON object"},
		"not JSON":      {func(_ *core.Set, s *core.Spec) { s.Compute.Config = []byte(`{`) }, "not a JSON object"},
		"deep": {func(_ *core.Set, s *core.Spec) {
			s.Compute.Config = []byte(`{"extra":` + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + "}")
		}, "not a JSON object"},
		"number":          {func(_ *core.Set, s *core.Spec) { s.Compute.Config = []byte(`{"command":["x"],"nice":1e99999999}`) }, "not a JSON object"},
		"two values":      {func(_ *core.Set, s *core.Spec) { s.Compute.Config = []byte(`{"command":["x"]} {}`) }, "not a JSON object"},
		"placeholder":     {func(_ *core.Set, s *core.Spec) { s.Compute.Config = []byte(`{"command":["${port.x}"]}`) }, `compute, config "command": The service has no port "x"`},
		"broken driver":   {func(_ *core.Set, s *core.Spec) { s.Compute = core.Compute{Driver: "broken"} }, `The driver's schema has no usable type for "x"`},
		"bad default":     {func(_ *core.Set, s *core.Spec) { s.Compute = core.Compute{Driver: "baddefault"} }, `The driver's schema has no usable default for "x"`},
		"config digest":   {func(set *core.Set, _ *core.Spec) { set.Configs[0].Digest = core.DigestBytes(nil) }, `config "site", digest: The config says`},
		"config data":     {func(set *core.Set, _ *core.Spec) { set.Configs[0].Data = []byte("other") }, `config "site", digest`},
		"config format":   {func(set *core.Set, _ *core.Spec) { set.Configs[0].Format = 2 }, "format 2"},
		"config twice":    {func(set *core.Set, _ *core.Spec) { set.Configs = append(set.Configs, set.Configs[0]) }, `two configs named "site"`},
		"config size":     {func(set *core.Set, _ *core.Spec) { set.Configs[0].Data = make([]byte, spec.MaxConfigBytes+1) }, "a config has at most 765 KiB"},
		"config name":     {func(set *core.Set, _ *core.Spec) { set.Configs[0].Name = "a b" }, `Config "a b": a name has`},
		"mount digest":    {func(_ *core.Set, s *core.Spec) { s.Mounts[0].Digest = core.DigestBytes(nil) }, "The mount pins the config"},
		"mount config":    {func(_ *core.Set, s *core.Spec) { s.Mounts[0].Config = "sit" }, `The set has no config "sit". Did you mean "site"?`},
		"mount path":      {func(_ *core.Set, s *core.Spec) { s.Mounts[0].Path = "a/../../b" }, "leaves it"},
		"mount unclean":   {func(_ *core.Set, s *core.Spec) { s.Mounts[0].Path = "a/../b" }, `should be written "b"`},
		"mount control":   {func(_ *core.Set, s *core.Spec) { s.Mounts[0].Path = "a\x00b" }, "control characters"},
		"mount long":      {func(_ *core.Set, s *core.Spec) { s.Mounts[0].Path = strings.Repeat("a", 1025) }, "longer than 1024"},
		"mount twice":     {func(_ *core.Set, s *core.Spec) { s.Mounts = append(s.Mounts, s.Mounts[0]) }, "Two mounts have the path"},
		"pinned artifact": {func(_ *core.Set, s *core.Spec) { s.Artifact.Digest = core.DigestBytes(nil) }, "pinned by the server"},
		"bare checksum":   {func(_ *core.Set, s *core.Spec) { s.Artifact.Checksum = string(core.DigestBytes(nil)) }, "A checksum without a source"},
		"service twice":   {func(set *core.Set, _ *core.Spec) { set.Services = append(set.Services, set.Services[0]) }, `two services named "web"`},
		"port twice":      {func(_ *core.Set, s *core.Spec) { s.Ports = append(s.Ports, s.Ports[0]) }, `two ports named "http"`},
		"no port":         {func(_ *core.Set, s *core.Spec) { s.Routes[0].Port = "" }, "It does not say which port"},
		"health type":     {func(_ *core.Set, s *core.Spec) { s.Health[0].Type = "grpc" }, `is http or tcp, not "grpc"`},
		"health tcp":      {func(_ *core.Set, s *core.Spec) { s.Health[0].Type = core.CheckTCP }, "A tcp check only connects"},
		"target":          {func(_ *core.Set, s *core.Spec) { s.Routes[0].Target = "A" }, `Target "A"`},
		"tls":             {func(_ *core.Set, s *core.Spec) { s.Routes[0].TLS = &core.TLS{} }, "TLS needs"},
		"negative":        {func(_ *core.Set, s *core.Spec) { s.Grace = -1 }, `"grace" must be between 1ms and 24h, not -1ns`},
		"strategy":        {func(_ *core.Set, s *core.Spec) { s.Rollout.Strategy = "canary" }, `has the strategies "blue_green" and "rolling", so not "canary"`},
		"surge":           {func(_ *core.Set, s *core.Spec) { s.Rollout.MaxSurge = "1" }, `max_surge is for the strategy "rolling"`},
		"unavailable":     {func(_ *core.Set, s *core.Spec) { s.Rollout.MaxUnavailable = "0" }, `max_unavailable is for the strategy "rolling"`},
		"rolling keep":    {func(_ *core.Set, s *core.Spec) { s.Rollout.Strategy, s.Rollout.MaxSurge = "rolling", "1" }, `keep_previous is for the strategy "blue_green"`},
		"rolling nothing": {rolling("0", "0"), "both 0: with neither"},
		"rolling absent":  {rolling("", ""), "both 0: with neither"},
		"rolling share":   {rolling("101%", "0"), `max_surge is a number of instances, as in 2, or a share of the count between "0%" and "100%", as in "25%"; not "101%"`},
		"rolling half":    {rolling("1.5", "0"), `not "1.5"`},
		"rolling minus":   {rolling("1", "-1"), `max_unavailable is a number of instances`},
		"rolling zeros":   {rolling("01", "0"), `not "01"`},
		"rolling many":    {rolling("1000001", "0"), `not "1000001"`},
		"too large": {func(_ *core.Set, s *core.Spec) {
			s.Env = map[string]string{"A": strings.Repeat("x", core.MaxValueBytes)}
		}, "at most 1008 KiB can be stored"},
		"too many":         {func(set *core.Set, _ *core.Spec) { set.Services = make([]core.Declared, 10001) }, "at most 10000 services and configs"},
		"too many routes":  {func(_ *core.Set, s *core.Spec) { s.Routes = manyRoutes(2001) }, "at most 2000 routes"},
		"several problems": {func(_ *core.Set, s *core.Spec) { s.Ports = nil; s.Grace = -1; s.Rollout.Smoke[0].Path = "x" }, "; "},
	} {
		t.Run(name, func(t *testing.T) {
			set := evaluate(t, good, spec.Options{})
			if err := spec.Validate(set, testDrivers); err != nil {
				t.Fatal(err)
			}
			c.change(&set, &set.Services[0].Spec)
			err := spec.Validate(set, testDrivers)
			if core.CodeOf(err) != core.CodeInvalid || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
	if err := spec.Validate(evaluate(t, good, spec.Options{}), nil); core.CodeOf(err) != core.CodeInvalid {
		t.Errorf("without schemas nothing is valid, got %v", err)
	}
}

func rolling(surge, unavailable core.Bound) func(*core.Set, *core.Spec) {
	return func(_ *core.Set, s *core.Spec) {
		s.Rollout = core.RolloutSpec{Strategy: core.StrategyRolling, ProgressDeadline: s.Rollout.ProgressDeadline, MaxSurge: surge, MaxUnavailable: unavailable}
	}
}

func manyRoutes(n int) []core.RouteSpec {
	routes := make([]core.RouteSpec, n)
	for i := range routes {
		routes[i] = core.RouteSpec{Name: "r" + strings.Repeat("x", i%50) + string(rune('a'+i%26)) + time.Duration(i).String(), Driver: "proxy"}
	}
	return routes
}

const good = `
config "site" {
  data = "x"
}
service "web" {
  compute "process" {
    command = ["x"]
  }
  port "http" {}
  mount "config" {
    config = "site"
    path   = "etc/site"
  }
  health "http" {}
  route "web" {
    listen = ":80"
  }
  rollout {
    smoke {}
  }
}
`

func TestConfigSizeLimitFitsTheStore(t *testing.T) {
	cfg := core.Config{Format: core.Format, Name: strings.Repeat("n", 63), Data: make([]byte, spec.MaxConfigBytes)}
	cfg.Digest = core.DigestBytes(cfg.Data)
	data, err := json.Marshal(cfg)
	if err != nil || len(data) > core.MaxValueBytes {
		t.Errorf("%d bytes, %v", len(data), err)
	}
	if err := spec.Validate(core.Set{Configs: []core.Config{cfg}}, testDrivers); err != nil {
		t.Error(err)
	}
}

func TestRouteConflict(t *testing.T) {
	route := func(listen string) *core.RouteSpec {
		return &core.RouteSpec{Driver: "proxy", Listen: listen, Protocol: core.ProtocolHTTP}
	}
	other := route(":80")
	other.Driver = "haproxy"
	if reason := spec.RouteConflict(route(":80"), other); reason != "" {
		t.Errorf("another driver: %s", reason)
	}
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{":80", ":80", true}, {":80", ":81", false}, {"10.0.0.1:80", "10.0.0.2:80", false}, {"[::]:80", "10.0.0.2:80", true}, {"0.0.0.0:80", ":80", true},
	} {
		if got := spec.RouteConflict(route(c.a), route(c.b)) != ""; got != c.want {
			t.Errorf("%s and %s: conflict %v", c.a, c.b, got)
		}
	}
}

func TestParseBytes(t *testing.T) {
	for text, want := range map[string]int64{"0": 0, "5": 5, "64MiB": 64 << 20, "1.5 GiB": 3 << 29, "2kB": 2000, " 1 tb ": 1e12, "7B": 7, "-1": -1} {
		if got, err := spec.ParseBytes(text); err != nil || got != want {
			t.Errorf("%q: %d, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "MiB", "1XB", "0x10", "1e3", "inf", "NaN", "1.5", "9999999TiB", "1 2"} {
		if got, err := spec.ParseBytes(text); err == nil {
			t.Errorf("%q: %d", text, got)
		}
	}
}
