package spec_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/instarhq/instar/core/spec"
)

const declarations = `
variable "name" {
  type    = string
  default = "default"
}
variable "ports" {
  type    = list(number)
  default = []
}
variable "any" {
  default = null
}
variable "shape" {
  type = object({ a = string, b = optional(number, 7) })
  default = { a = "x" }
}
variable "secret" {
  default   = "s3cr3t"
  sensitive = true
}
service "s" {
  compute "docker" {}
  env = {
    NAME  = var.name
    PORTS = join(",", var.ports)
    ANY   = var.any
    SHAPE = "${var.shape.a}${var.shape.b}"
  }
}
`

func TestVariableSources(t *testing.T) {
	dir := write(t, map[string]string{
		"one.vars": "name = \"one\"\nports = [1]\n", "two.vars": "name = \"two\"\n", "three.json": `{"name": "three", "ports": [3, 4], "any": {"x": 1}}`,
	})
	in := func(name string) string { return filepath.Join(dir, name) }
	environ := []string{"INSTAR_VAR_name=env", "INSTAR_VAR_ports=[9]", "INSTAR_VAR_other=x", "HOME=/", "INSTAR_VAR_any=5", "broken"}
	for name, c := range map[string]struct {
		opts                    spec.Options
		name, ports, any, shape string
	}{
		"defaults":     {spec.Options{}, "default", "", "", "x7"},
		"environment":  {spec.Options{Environ: environ}, "env", "9", "5", "x7"},
		"file":         {spec.Options{Environ: environ, VarFiles: []string{in("one.vars")}}, "one", "1", "5", "x7"},
		"later file":   {spec.Options{VarFiles: []string{in("one.vars"), in("two.vars")}}, "two", "1", "", "x7"},
		"command line": {spec.Options{Environ: environ, VarFiles: []string{in("one.vars")}, Variables: map[string]string{"name": "cli", "ports": "[5, 6]", "shape": `{ a = "y", b = 1 }`}}, "cli", "5,6", "5", "y1"},
		"empty text":   {spec.Options{Variables: map[string]string{"name": ""}}, "", "", "", "x7"},
	} {
		t.Run(name, func(t *testing.T) {
			env := evaluate(t, declarations, c.opts).Services[0].Spec.Env
			if env["NAME"] != c.name || env["PORTS"] != c.ports || env["ANY"] != c.any || env["SHAPE"] != c.shape {
				t.Errorf("got %v", env)
			}
		})
	}
}

func TestVariableProblems(t *testing.T) {
	dir := write(t, map[string]string{
		"syntax.vars": "name = \n", "block.vars": "name {}\n", "calls.vars": "name = upper(\"x\")\n", "wrong.vars": "ports = \"x\"\n",
		"more.vars": "namme = \"x\"\n", "list.json": "[1]", "broken.json": "{", "wrong.json": `{"ports": {}}`, "more.json": `{"namme": 1}`,
		"deep.json": strings.Repeat(`{"a":`, 2000) + "1" + strings.Repeat("}", 2000), "latin.vars": "name = \"\xe9\"\n", "number.json": `{"any": 1e999999999}`,
	})
	in := func(name string) spec.Options { return spec.Options{VarFiles: []string{filepath.Join(dir, name)}} }
	for name, c := range map[string]struct {
		opts  spec.Options
		want  string
		error bool
	}{
		"unknown":       {spec.Options{Variables: map[string]string{"namme": "x"}}, `-var gives a value to "namme", but no file declares that variable. Did you mean "name"?`, true},
		"not a list":    {spec.Options{Variables: map[string]string{"ports": "x y"}}, `The variable "ports" must be a list of numbers; the value from -var cannot be read`, true},
		"wrong element": {spec.Options{Variables: map[string]string{"ports": `["x"]`}}, `must be a list of numbers. The value from -var does not fit: at [0]: a number is required.`, true},
		"environment":   {spec.Options{Environ: []string{"INSTAR_VAR_ports=["}}, "the value from the environment (INSTAR_VAR_ports) cannot be read", true},
		"not text":      {spec.Options{Variables: map[string]string{"name": "\xff"}}, "is not UTF-8 text", true},
		"absent file":   {in("absent.vars"), "absent.vars does not exist", true},
		"syntax":        {in("syntax.vars"), "syntax.vars:1:8", true},
		"block":         {in("block.vars"), "block.vars:1:1", true},
		"calls":         {in("calls.vars"), "Functions may not be called here", true},
		"wrong type":    {in("wrong.vars"), "wrong.vars:1:9", true},
		"more":          {in("more.vars"), `more.vars gives a value to "namme", but no file declares that variable. Did you mean "name"?`, false},
		"latin":         {in("latin.vars"), "is not UTF-8 text: byte 8", true},
		"json list":     {in("list.json"), "a JSON variable file is an object of values", true},
		"json broken":   {in("broken.json"), "unexpected EOF", true},
		"json wrong":    {in("wrong.json"), `The variable "ports" must be a list of numbers. The value from`, true},
		"json more":     {in("more.json"), `more.json gives a value to "namme"`, false},
		"json deep":     {in("deep.json"), "nested deeper than 1000", true},
		"json number":   {in("number.json"), "a number this large or this small", true},
		"too deep":      {spec.Options{Variables: map[string]string{"ports": strings.Repeat("[", 5000)}}, "Nested too deeply", true},
	} {
		t.Run(name, func(t *testing.T) {
			_, sources, diags := tryEvaluate(t, declarations, c.opts)
			if got := text(t, diags, sources.Files()); diags.HasErrors() != c.error || !strings.Contains(got, c.want) {
				t.Errorf("got\n%s\nwant %q", got, c.want)
			}
		})
	}
}

// TestSensitiveValuesAreNeverPrinted uses a sensitive variable where everything goes wrong.
func TestSensitiveValuesAreNeverPrinted(t *testing.T) {
	_, sources, diags := tryEvaluate(t, declarations+`
service "t" {
  count = var.secret
  compute "process" {
    command = { a = var.secret }
    nice    = upper(var.secret)
    limits  = [{ name = var.secret, soft = var.secret }]
    labels  = "${var.secret}!"
  }
  env = { A = var.secret + 1, B = var.secret[0], C = [for x in var.secret : x], D = var.secret.x }
}
`, spec.Options{})
	got := text(t, diags, sources.Files())
	if !diags.HasErrors() {
		t.Error("there is no error")
	}
	if strings.Contains(got, "s3cr3t") || strings.Contains(got, "S3CR3T") {
		t.Errorf("the secret is in:\n%s", got)
	}
}

func TestSensitiveWarning(t *testing.T) {
	set, sources, diags := tryEvaluate(t, declarations+`
service "t" {
  compute "docker" {}
  env = { A = base64encode(var.secret) }
}`, spec.Options{})
	if diags.HasErrors() || set.Services[1].Spec.Env["A"] != "czNjcjN0" {
		t.Fatalf("%v\n%s", set, text(t, diags, sources.Files()))
	}
	if got := spec.Diagnostics(diags); len(got) != 1 || got[0].Severity != spec.SeverityWarning || got[0].Line == 0 {
		t.Errorf("got %+v", got)
	}
}
