package spec

import (
	"fmt"
	"strconv"

	"github.com/hashicorp/hcl/v2"

	"github.com/instarhq/instar/core"
)

var (
	portSchema   = &hcl.BodySchema{Attributes: []hcl.AttributeSchema{{Name: "number"}}}
	healthSchema = &hcl.BodySchema{Attributes: []hcl.AttributeSchema{
		{Name: "port"}, {Name: "path"}, {Name: "status"}, {Name: "interval"}, {Name: "timeout"}, {Name: "healthy_for"}, {Name: "failures"},
	}}
	routeSchema = &hcl.BodySchema{
		Attributes: []hcl.AttributeSchema{
			{Name: "driver"},
			{Name: "target"},
			{Name: "listen", Required: true},
			{Name: "protocol"},
			{Name: "host"},
			{Name: "path"},
			{Name: "port"},
			{Name: "drain"},
		},
		Blocks: []hcl.BlockHeaderSchema{{Type: "tls"}, {Type: "config"}},
	}
	tlsSchema = &hcl.BodySchema{Attributes: []hcl.AttributeSchema{{Name: "certificate", Required: true}, {Name: "key", Required: true}}}
)

func (s *serviceDecoder) readPorts() {
	s.each("port", func(name string, block *hcl.Block) {
		f := s.read(block, portSchema, s.at("port", name)...)
		s.places.put(block.LabelRanges[0], s.at("port", name, "name")...)
		s.spec.Ports = append(s.spec.Ports, core.Port{Name: name, Number: int(f.integer("number", 0))})
		s.ports = append(s.ports, name)
	})
}

// portOf reads the attribute port, which a service with one port may leave out.
func (s *serviceDecoder) portOf(f *fields) string {
	if f.given("port") {
		return f.text("port", "")
	}
	if len(s.ports) == 1 {
		return s.ports[0]
	}
	advice := `The service declares no port: add port "http" {}.`
	if len(s.ports) > 1 {
		advice = fmt.Sprintf("The service has several ports: %s. Say which one is meant with port = …", names(s.ports))
	}
	f.require("port", advice)
	return ""
}

func (s *serviceDecoder) health() {
	for i, block := range s.content.Blocks.OfType("health") {
		typ := core.CheckType(block.Labels[0])
		f := s.read(block, healthSchema, s.at("health", strconv.Itoa(i))...)
		if typ != core.CheckHTTP && typ != core.CheckTCP {
			s.addError("Unknown kind of health check", fmt.Sprintf(`A health check of kind %q does not exist: this version has "http" and "tcp".%s`,
				typ, suggest(string(typ), []string{"http", "tcp"})), block.LabelRanges[0])
			continue
		}
		s.spec.Health = append(s.spec.Health, core.HealthCheck{
			Type:       typ,
			Port:       s.portOf(f),
			Path:       f.text("path", ""),
			Status:     f.integers("status"),
			Interval:   f.duration("interval", defaultInterval, false),
			Timeout:    f.duration("timeout", defaultTimeout, false),
			HealthyFor: f.duration("healthy_for", defaultHealthyFor, false),
			Failures:   f.positive("failures", defaultFailures),
		})
	}
}

// positive reads a whole number for which zero would mean the default.
func (f *fields) positive(name string, fallback int) int {
	n := f.integer(name, int64(fallback))
	if n < 1 {
		f.addError("Out of range", fmt.Sprintf("%q must be at least 1. Without it the default of %d holds.", name, fallback), f.place(name))
	}
	return int(n)
}

// place is where an attribute's value stands, or the block if it is not given.
func (f *fields) place(name string) hcl.Range {
	if attr, ok := f.content.Attributes[name]; ok {
		return attr.Expr.Range()
	}
	return f.body
}

func (s *serviceDecoder) routes() {
	s.each("route", func(name string, block *hcl.Block) {
		f := s.read(block, routeSchema, s.at("route", name)...)
		s.places.put(block.LabelRanges[0], s.at("route", name, "name")...)
		r := core.RouteSpec{
			Name:     name,
			Driver:   f.text("driver", defaultTraffic),
			Target:   f.text("target", ""),
			Listen:   f.text("listen", ""),
			Protocol: core.Protocol(f.text("protocol", string(core.ProtocolHTTP))),
			Host:     f.text("host", ""),
			Path:     f.text("path", ""),
			Port:     s.portOf(f),
			Drain:    f.duration("drain", defaultDrain, false),
		}
		if block := f.one("tls"); block != nil {
			t := s.read(block, tlsSchema, s.at("route", name, "tls")...)
			r.TLS = &core.TLS{Certificate: t.text("certificate", ""), Key: t.text("key", "")}
		}
		r.Config = s.routeConfig(f, r.Driver)
		s.spec.Routes = append(s.spec.Routes, r)
	})
}

// routeConfig decodes the config block of a route by the traffic driver's schema. Without a block the
// schema's defaults and required attributes still count.
func (s *serviceDecoder) routeConfig(f *fields, driver string) []byte {
	at := below(f.path, "config")
	block := f.one("config")
	label := f.place("driver")
	if block == nil {
		return s.driverBody(emptyBody{at: f.body}, core.DriverTraffic, driver, label, nil, at)
	}
	s.places.put(block.DefRange, at...)
	return s.driverBody(block.Body, core.DriverTraffic, driver, label, nil, at)
}

// emptyBody is the body of a block that is not there, at the place where it would be.
type emptyBody struct{ at hcl.Range }

func (b emptyBody) Content(schema *hcl.BodySchema) (*hcl.BodyContent, hcl.Diagnostics) {
	return hcl.EmptyBody().Content(schema)
}

func (b emptyBody) PartialContent(schema *hcl.BodySchema) (*hcl.BodyContent, hcl.Body, hcl.Diagnostics) {
	content, _, diags := hcl.EmptyBody().PartialContent(schema)
	return content, b, diags
}

func (b emptyBody) JustAttributes() (hcl.Attributes, hcl.Diagnostics) { return hcl.Attributes{}, nil }
func (b emptyBody) MissingItemRange() hcl.Range                       { return b.at }
