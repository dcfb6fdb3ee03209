package spec

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

// EnvironPrefix begins the names of environment variables that give values to variables.
const EnvironPrefix = "INSTAR_VAR_"

// given is a value that the operator gave to a variable, from the place that what names.
type given struct {
	value cty.Value
	what  string
	rng   *hcl.Range // nil for the command line and the environment
}

// setVariables gives every declared variable its value. A later source wins: the default, the
// environment, variable files in their order, the command line.
func (e *evaluation) setVariables(opts Options) {
	values := e.environValues(opts.Environ)
	for _, path := range opts.VarFiles {
		e.fileValues(path, values)
	}
	e.optionValues(opts.Variables, values)
	for _, name := range keysOf(e.variables) {
		v := e.variables[name]
		e.scope.variables[name] = e.variableValue(v, values[name])
	}
	for _, name := range keysOf(e.variables) {
		if e.scope.variables[name].IsWhollyKnown() {
			e.add(e.variables[name].validate(e.scope))
		}
	}
}

func (e *evaluation) variableValue(v *variable, g *given) cty.Value {
	value := v.fallback
	if g != nil {
		err := e.scope.meter.charge(g.value)
		if err == nil {
			value, err = v.convert(g.value)
		}
		if err != nil {
			rng := g.rng
			if rng == nil {
				rng = &v.rng
			}
			e.add(hcl.Diagnostics{v.wrongType(err, rng, "The value from "+g.what)})
			return cty.DynamicVal
		}
	}
	if value == cty.NilVal {
		e.addError("Variable without a value", fmt.Sprintf(
			"The variable %q has no default%s. Give it a value with -var %s=…, in a variable file, or in the environment as %s%s.",
			v.name, v.purpose(), v.name, EnvironPrefix, v.name), v.rng)
		return cty.DynamicVal
	}
	if v.sensitive {
		value = value.Mark(sensitiveMark)
	}
	return value
}

func (v *variable) purpose() string {
	if v.description == "" {
		return ""
	}
	return " (" + strings.TrimRight(v.description, ". \n") + ")"
}

func (e *evaluation) environValues(environ []string) map[string]*given {
	values := map[string]*given{}
	for _, entry := range environ {
		key, text, ok := strings.Cut(entry, "=")
		name, ours := strings.CutPrefix(key, EnvironPrefix)
		v, declared := e.variables[name]
		if !ok || !ours || !declared {
			continue
		}
		values[name] = e.textValue(v, text, "the environment ("+key+")")
	}
	return values
}

func (e *evaluation) optionValues(options map[string]string, values map[string]*given) {
	for _, name := range keysOf(options) {
		v, declared := e.variables[name]
		if !declared {
			e.add(problem("Unknown variable", fmt.Sprintf("-var gives a value to %q, but no file declares that variable.%s",
				name, suggest(name, keysOf(e.variables)))))
			continue
		}
		values[name] = e.textValue(v, options[name], "-var")
	}
}

// textValue reads a value from the command line or the environment: text for a variable of a primitive
// or no particular type, an HCL expression otherwise.
func (e *evaluation) textValue(v *variable, text, what string) *given {
	if invalidUTF8([]byte(text)) >= 0 {
		e.add(problem("Not text", fmt.Sprintf("The value of the variable %q from %s is not UTF-8 text.", v.name, what)))
		return &given{value: cty.DynamicVal, what: what}
	}
	if v.typ.IsPrimitiveType() || v.typ == cty.DynamicPseudoType {
		return &given{value: cty.StringVal(text), what: what}
	}
	expr, diags := parseExpression([]byte(text), what)
	if !diags.HasErrors() {
		value, moreDiags := constantValue(&hcl.Attribute{Name: v.name, Expr: expr}, cty.DynamicPseudoType)
		if diags = append(diags, moreDiags...); !diags.HasErrors() {
			return &given{value: value, what: what}
		}
	}
	e.add(problem("Invalid value for variable", fmt.Sprintf("The variable %q must be %s; the value from %s cannot be read: %s",
		v.name, typeText(v.typ), what, stop(firstError(diags)))))
	return &given{value: cty.DynamicVal, what: what}
}

// fileValues reads a variable file: NAME = value lines, or a JSON object if its name ends in .json.
func (e *evaluation) fileValues(path string, values map[string]*given) {
	data, err := readFile(path, MaxFileBytes)
	if err != nil {
		e.add(readProblem(path, err))
		return
	}
	if at := invalidUTF8(data); at >= 0 {
		e.add(problem("Not a text file", fmt.Sprintf("%s is not UTF-8 text: byte %d is part of no character.", path, at)))
		return
	}
	if filepath.Ext(path) == ".json" {
		e.jsonValues(path, data, values)
		return
	}
	file, diags := Parse(data, path)
	e.sources.files[path] = file // for Format
	e.add(diags)
	if diags.HasErrors() {
		return
	}
	attributes, diags := file.Body.JustAttributes()
	e.add(diags)
	for _, name := range keysOf(attributes) {
		attr := attributes[name]
		if !e.expected(name, path, attr.NameRange.Ptr()) {
			continue
		}
		value, diags := constantValue(attr, cty.DynamicPseudoType)
		e.add(diags)
		if diags.HasErrors() {
			value = cty.DynamicVal
		}
		values[name] = &given{value: value, what: path, rng: attr.Expr.Range().Ptr()}
	}
}

func (e *evaluation) jsonValues(path string, data []byte, values map[string]*given) {
	plain, err := parseJSON(data)
	object, ok := plain.(map[string]any)
	if err != nil || !ok {
		if err == nil {
			err = fmt.Errorf("it is not an object")
		}
		e.add(problem("Cannot read "+filepath.Base(path), fmt.Sprintf("%s: a JSON variable file is an object of values: %s", path, stop(err.Error()))))
		return
	}
	for _, name := range keysOf(object) {
		if !e.expected(name, path, nil) {
			continue
		}
		value, err := valueOf(object[name])
		if err != nil {
			e.add(problem("Invalid value for variable", fmt.Sprintf("%s: %q: %s", path, name, stop(err.Error()))))
			value = cty.DynamicVal
		}
		values[name] = &given{value: value, what: path}
	}
}

// expected reports whether the variable is declared; a variable file may serve several sets, so more is
// worth a warning only.
func (e *evaluation) expected(name, path string, rng *hcl.Range) bool {
	if _, ok := e.variables[name]; ok {
		return true
	}
	e.add(hcl.Diagnostics{{
		Severity: hcl.DiagWarning, Summary: "Unused value",
		Detail:  fmt.Sprintf("%s gives a value to %q, but no file declares that variable.%s", path, name, suggest(name, keysOf(e.variables))),
		Subject: rng,
	}})
	return false
}

func firstError(diags hcl.Diagnostics) string {
	for _, d := range diags {
		if d.Severity == hcl.DiagError {
			return d.Summary + ": " + d.Detail
		}
	}
	return ""
}

func hclIdentifier(name string) bool { return hclsyntax.ValidIdentifier(name) }
