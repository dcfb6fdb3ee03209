package spec

import (
	"fmt"
	"path/filepath"
	"slices"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"
)

// scope is what expressions of a set can refer to. Relative paths depend on the file that an expression
// stands in, so each directory has functions of its own.
type scope struct {
	sources   *Sources
	meter     *meter
	variables map[string]cty.Value
	locals    map[string]cty.Value
	functions map[string]map[string]function.Function // by directory
}

func newScope(sources *Sources) *scope {
	return &scope{
		sources:   sources,
		meter:     newMeter(sources.work),
		variables: map[string]cty.Value{},
		locals:    map[string]cty.Value{},
		functions: map[string]map[string]function.Function{},
	}
}

// names of the roots that an expression may refer to.
const (
	rootVar      = "var"
	rootLocal    = "local"
	rootPort     = "port"
	rootInstance = "instance"
)

// placeholders are the values that are known only when an instance is created: drivers replace them in
// strings of the compute block and of env, and nowhere else. Nil means that they are not allowed.
type placeholders struct{ ports []string }

// PortPlaceholder is what the driver replaces by the number of the named port.
func PortPlaceholder(port string) string { return "${port." + port + "}" }

// InstancePlaceholder is what the driver replaces by the instance's id.
const InstancePlaceholder = "${instance.id}"

func (p *placeholders) values() map[string]cty.Value {
	if p == nil {
		return nil
	}
	ports := make(map[string]cty.Value, len(p.ports))
	for _, name := range p.ports {
		ports[name] = cty.StringVal(PortPlaceholder(name))
	}
	return map[string]cty.Value{
		rootPort:     cty.ObjectVal(ports),
		rootInstance: cty.ObjectVal(map[string]cty.Value{"id": cty.StringVal(InstancePlaceholder)}),
	}
}

// eval evaluates an expression once: it changes the syntax tree to measure the work.
func (s *scope) eval(expr hcl.Expression, holders *placeholders) (cty.Value, hcl.Diagnostics) {
	if diags := s.checkReferences(expr.Variables(), holders); diags.HasErrors() {
		return cty.DynamicVal, diags
	}
	if s.meter.exhausted() {
		return cty.DynamicVal, nil // that has been reported
	}
	s.meter.instrument(expr)
	values := map[string]cty.Value{rootVar: cty.ObjectVal(s.variables), rootLocal: cty.ObjectVal(s.locals)}
	for name, v := range holders.values() {
		values[name] = v
	}
	ctx := &hcl.EvalContext{Variables: values, Functions: s.functionsOf(expr.Range().Filename)}
	v, diags := expr.Value(ctx)
	if diags.HasErrors() {
		return cty.DynamicVal, diags
	}
	if err := s.meter.charge(v); err != nil {
		return cty.DynamicVal, append(diags, chargeProblem(err, expr.Range()))
	}
	return v, diags
}

func (s *scope) functionsOf(filename string) map[string]function.Function {
	dir := s.sources.Dir(filename)
	if f, ok := s.functions[dir]; ok {
		return f
	}
	f := functionsIn(dir, s.meter)
	s.functions[dir] = f
	return f
}

// checkReferences says better than HCL itself what is wrong with a reference.
func (s *scope) checkReferences(refs []hcl.Traversal, holders *placeholders) hcl.Diagnostics {
	var diags hcl.Diagnostics
	for _, ref := range refs {
		if text := s.checkReference(ref, holders); text != "" {
			diags = append(diags, &hcl.Diagnostic{
				Severity: hcl.DiagError, Summary: "Unknown reference", Detail: text, Subject: ref.SourceRange().Ptr(),
			})
		}
	}
	return diags
}

func (s *scope) checkReference(ref hcl.Traversal, holders *placeholders) string {
	root := ref.RootName()
	name, named := attributeOf(ref)
	switch root {
	case rootVar:
		return checkMember("variable", root, name, named, keysOf(s.variables), `Declare it with variable %q {}.`)
	case rootLocal:
		return checkMember("local value", root, name, named, keysOf(s.locals), `Define it in a locals block.`)
	case rootPort, rootInstance:
		if holders == nil {
			return fmt.Sprintf("%q is known only when an instance is created, so it can be used in the compute block and in env, and nowhere else.", root)
		}
		if root == rootInstance {
			return checkMember("attribute of instance", root, name, named, []string{"id"}, "")
		}
		return checkMember("port", root, name, named, holders.ports, `Declare it in the service with port %q {}.`)
	}
	return fmt.Sprintf(`Nothing is called %q here. A value is var.NAME, local.NAME or, within a service, port.NAME; text stands in quotes: %q.`, root, root)
}

func checkMember(what, root, name string, named bool, known []string, advice string) string {
	if !named {
		return fmt.Sprintf("%q is not a value by itself: write %s.NAME.", root, root)
	}
	if slices.Contains(known, name) {
		return ""
	}
	text := fmt.Sprintf("There is no %s %q.", what, name)
	if hint := suggest(name, known); hint != "" {
		return text + hint
	}
	if advice == "" {
		return text
	}
	if slices.Contains([]byte(advice), '%') {
		advice = fmt.Sprintf(advice, name)
	}
	return text + " " + advice
}

func attributeOf(ref hcl.Traversal) (string, bool) {
	if len(ref) < 2 {
		return "", false
	}
	switch step := ref[1].(type) {
	case hcl.TraverseAttr:
		return step.Name, true
	case hcl.TraverseIndex:
		if step.Key.Type() == cty.String && step.Key.IsKnown() && !step.Key.IsNull() {
			return step.Key.AsString(), true
		}
	}
	return "", false
}

// absolute resolves a path relative to the directory of the file that names it.
func (s *scope) absolute(path, filename string) string {
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(s.sources.Dir(filename), path)
}
