package spec

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"

	"github.com/instarhq/instar/core"
)

var stringType = cty.String

var serviceSchema = &hcl.BodySchema{
	Attributes: []hcl.AttributeSchema{{Name: "count"}, {Name: "env"}, {Name: "grace"}},
	Blocks: []hcl.BlockHeaderSchema{
		{Type: "artifact"},
		{Type: "compute", LabelNames: []string{"driver"}},
		{Type: "port", LabelNames: []string{"name"}},
		{Type: "resources"},
		{Type: "mount", LabelNames: []string{"type"}},
		{Type: "health", LabelNames: []string{"type"}},
		{Type: "route", LabelNames: []string{"name"}},
		{Type: "rollout"},
		{Type: "constraint"},
		{Type: "spread"},
	},
}

var (
	artifactSchema  = &hcl.BodySchema{Attributes: []hcl.AttributeSchema{{Name: "source"}, {Name: "checksum"}}}
	resourcesSchema = &hcl.BodySchema{Attributes: []hcl.AttributeSchema{{Name: "cpu"}, {Name: "memory"}}}
	mountSchema     = &hcl.BodySchema{Attributes: []hcl.AttributeSchema{{Name: "config", Required: true}, {Name: "path", Required: true}}}
	targetSchema    = &hcl.BodySchema{Attributes: []hcl.AttributeSchema{{Name: "target"}}}
)

// serviceDecoder reads one service block.
type serviceDecoder struct {
	*fields
	name  string
	spec  *core.Spec
	ports []string
}

// service reads a service block into the set.
func (e *evaluation) service(block *hcl.Block) {
	name := block.Labels[0]
	if first, twice := e.places.exact(pathOf("service", name)); twice {
		e.duplicate("service", name, block.DefRange, first)
		return
	}
	d := core.Declared{Name: name}
	s := &serviceDecoder{fields: e.read(block, serviceSchema, "service", name), name: name, spec: &d.Spec}
	e.places.put(block.LabelRanges[0], "service", name, "name")
	d.Count = int(s.integer("count", defaultCount))
	d.Spec.Grace = s.duration("grace", defaultGrace, false)
	s.readPorts() // first: others refer to them
	s.artifact()
	s.compute()
	s.env()
	s.resources()
	s.mounts()
	s.health()
	s.routes()
	s.rollout()
	s.placement()
	e.set.Services = append(e.set.Services, d)
}

func (s *serviceDecoder) at(steps ...string) []string {
	return below(pathOf("service", s.name), steps...)
}

func (s *serviceDecoder) artifact() {
	block := s.one("artifact")
	if block == nil {
		return
	}
	f := s.read(block, artifactSchema, s.at("artifact")...)
	s.spec.Artifact.Checksum = f.text("checksum", "")
	v, rng, ok := f.value("source", cty.String)
	if !ok {
		return
	}
	source := v.AsString()
	if isLocalPath(source) {
		s.spec.Artifact.Source = s.scope.absolute(source, rng.Filename)
		return
	}
	s.spec.Artifact.Source = source
	if strings.Contains(source, "://") || source == "" {
		return
	}
	if _, err := os.Stat(filepath.Join(s.sources.Dir(rng.Filename), source)); err == nil {
		s.addWarning("Not taken as a path", fmt.Sprintf(
			"%q is handed to the driver as a name. For the file of that name write %q.", source, "./"+source), rng)
	}
}

// isLocalPath reports whether an artifact's source is a path on this machine: those begin with /, ./ or
// ../. Anything else is a URL or a name that the driver understands, such as an image reference.
func isLocalPath(source string) bool {
	return source == "." || source == ".." || strings.HasPrefix(source, "/") ||
		strings.HasPrefix(source, "./") || strings.HasPrefix(source, "../")
}

func (s *serviceDecoder) compute() {
	block := s.one("compute")
	if block == nil {
		s.require("compute block", `A service says what runs it: compute "process" { … }.`)
		return
	}
	s.places.put(block.DefRange, s.at("compute")...)
	driver := block.Labels[0]
	content, remain, diags := block.Body.PartialContent(targetSchema)
	s.add(diags)
	f := &fields{evaluation: s.evaluation, path: s.at("compute"), content: content, body: block.DefRange}
	s.spec.Compute = core.Compute{Driver: driver, Target: f.text("target", "")}
	s.spec.Compute.Config = s.driverBody(remain, core.DriverCompute, driver, block.LabelRanges[0], &placeholders{ports: s.ports}, s.at("compute", "config"))
}

// driverBody decodes the body of a driver's block by the driver's workload schema.
func (s *serviceDecoder) driverBody(body hcl.Body, kind core.DriverKind, name string, label hcl.Range, holders *placeholders, at []string) []byte {
	eval := func(expr hcl.Expression) (cty.Value, hcl.Diagnostics) { return s.eval(expr, holders) }
	if attributes, _ := body.JustAttributes(); attributes != nil {
		for attr := range attributes {
			s.places.put(attributes[attr].Expr.Range(), below(at, attr)...)
		}
	}
	if s.schemas == nil {
		config, diags := decodeAnyBody(body, eval)
		s.add(diags)
		return config
	}
	driver, ok := s.schemas.Driver(kind, name)
	if !ok {
		s.addError("Unknown driver", unknownDriver(s.schemas, kind, name), label)
		return nil
	}
	config, diags := decodeBody(body, driver.Workload, eval)
	s.add(diags)
	return config
}

func (s *serviceDecoder) env() {
	attr, ok := s.content.Attributes["env"]
	if !ok {
		return
	}
	s.places.put(attr.Expr.Range(), s.at("env")...)
	if pairs, diags := hcl.ExprMap(attr.Expr); !diags.HasErrors() {
		for _, pair := range pairs {
			if name := hcl.ExprAsKeyword(pair.Key); name != "" {
				s.places.put(pair.Value.Range(), s.at("env", name)...)
			}
		}
	}
	plain, diags := evalPlain(attr.Expr, cty.Map(cty.String), "env", func(expr hcl.Expression) (cty.Value, hcl.Diagnostics) {
		return s.eval(expr, &placeholders{ports: s.ports})
	})
	s.add(diags)
	env, ok := plain.(map[string]any)
	if !ok {
		return
	}
	s.spec.Env = make(map[string]string, len(env))
	for name, value := range env {
		s.spec.Env[name], _ = value.(string)
	}
}

func (s *serviceDecoder) resources() {
	block := s.one("resources")
	if block == nil {
		return
	}
	f := s.read(block, resourcesSchema, s.at("resources")...)
	s.spec.Resources.CPU = f.integer("cpu", 0)
	v, rng, ok := f.value("memory", cty.String)
	if !ok {
		return
	}
	bytes, err := ParseBytes(v.AsString())
	if err != nil {
		s.addError("Invalid amount of memory", sentence(err.Error()), rng)
	}
	s.spec.Resources.Memory = bytes
}

func (s *serviceDecoder) mounts() {
	for _, block := range s.content.Blocks.OfType("mount") {
		if typ := block.Labels[0]; typ != "config" {
			s.addError("Unknown kind of mount", fmt.Sprintf(`A mount of kind %q does not exist: this version has mount "config".`, typ), block.LabelRanges[0])
			continue
		}
		content, diags := block.Body.Content(mountSchema)
		s.add(diags)
		f := &fields{evaluation: s.evaluation, path: s.at("mount", ""), content: content, body: block.DefRange}
		at := f.text("path", "")
		f.path = s.at("mount", cleanPath(at))
		if first, twice := s.places.exact(f.path); twice {
			s.duplicate("mount", at, block.DefRange, first)
			continue
		}
		s.places.put(block.DefRange, f.path...)
		if attr, ok := content.Attributes["path"]; ok {
			s.places.put(attr.Expr.Range(), s.at("mount", cleanPath(at), "path")...)
		}
		m := core.Mount{Path: at}
		v, rng, ok := f.value("config", cty.String)
		if ok {
			m.Config = v.AsString()
			if m.Digest, ok = s.digests[m.Config]; !ok {
				s.addError("Unknown config", unknownConfig(s.digests, m.Config), rng)
			}
		}
		s.spec.Mounts = append(s.spec.Mounts, m)
	}
}
