package spec_test

import (
	"encoding/json"
	"slices"

	"github.com/instarhq/instar/core"
)

// drivers are published descriptions as the tests know them.
type drivers []core.Driver

func (d drivers) Driver(kind core.DriverKind, name string) (core.Driver, bool) {
	i := slices.IndexFunc(d, func(x core.Driver) bool { return x.Kind == kind && x.Name == name })
	if i < 0 {
		return core.Driver{}, false
	}
	return d[i], true
}

func (d drivers) Drivers(kind core.DriverKind) []string {
	var names []string
	for _, x := range d {
		if x.Kind == kind {
			names = append(names, x.Name)
		}
	}
	return names
}

func attribute(name, typ string, change func(*core.Attribute)) core.Attribute {
	a := core.Attribute{Name: name, Type: json.RawMessage(typ), Doc: "What " + name + " is."}
	if change != nil {
		change(&a)
	}
	return a
}

func required(a *core.Attribute)  { a.Required = true }
func sensitive(a *core.Attribute) { a.Sensitive = true }
func fallback(value string) func(*core.Attribute) {
	return func(a *core.Attribute) { a.Default = json.RawMessage(value) }
}

var computeSchema = []core.Attribute{
	attribute("command", `["list","string"]`, required),
	attribute("user", `"string"`, fallback(`"nobody"`)),
	attribute("nice", `"number"`, nil),
	attribute("labels", `["map","string"]`, nil),
	attribute("password", `"string"`, sensitive),
	attribute("limits", `["list",["object",{"name":"string","soft":"number"},["soft"]]]`, nil),
	attribute("extra", `"dynamic"`, nil),
}

var testDrivers = drivers{
	{Name: "process", Kind: core.DriverCompute, Workload: computeSchema},
	{Name: "docker", Kind: core.DriverCompute},
	{Name: "proxy", Kind: core.DriverTraffic, Workload: []core.Attribute{
		attribute("max_body", `"number"`, fallback(`1048576`)),
		attribute("token", `"string"`, sensitive),
	}},
	{Name: "broken", Kind: core.DriverCompute, Workload: []core.Attribute{attribute("x", `"banana"`, nil)}},
	{Name: "baddefault", Kind: core.DriverCompute, Workload: []core.Attribute{attribute("x", `"number"`, fallback(`"many"`))}},
}
