package spec_test

import (
	"reflect"
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/spec"
)

func decode(t testing.TB, body string, schema []core.Attribute) (string, string) {
	t.Helper()
	file, diags := spec.Parse([]byte(body), "body.hcl")
	if diags.HasErrors() {
		t.Fatal(text(t, diags, map[string]*hcl.File{"body.hcl": file}))
	}
	ctx := &hcl.EvalContext{
		Variables: map[string]cty.Value{"unknown": cty.UnknownVal(cty.String), "marked": cty.StringVal("m").Mark("x"), "capsule": cty.CapsuleVal(cty.Capsule("c", reflect.TypeOf(0)), new(int))},
		Functions: spec.Functions(t.TempDir()),
	}
	out, diags := spec.DecodeBody(file.Body, schema, ctx)
	return string(out), text(t, diags, map[string]*hcl.File{"body.hcl": file})
}

func TestDecodeBody(t *testing.T) {
	for body, want := range map[string]string{
		"command = []": `{"command":[],"user":"nobody"}`,
		"command = [\"<&>\", 1, true]\nuser = null":                 `{"command":["<&>","1","true"],"user":"nobody"}`,
		"command = null == null ? [\"a\"] : []\nnice = 1.50":        `{"command":["a"],"nice":1.5,"user":"nobody"}`,
		"command = [marked]\nnice = 1e3 - 0.1\nuser = upper(\"x\")": `{"command":["m"],"nice":999.9,"user":"X"}`,
		"command = []\nextra = [{ b = 1, a = null }, null, []]":     `{"command":[],"extra":[{"b":1},null,[]],"user":"nobody"}`,
		"command = []\nlimits = [{ name = 1 }]":                     `{"command":[],"limits":[{"name":"1"}],"user":"nobody"}`,
		"command = []\nlabels = { z = 1, a = null, m = \"x\" }":     `{"command":[],"labels":{"m":"x","z":"1"},"user":"nobody"}`,
	} {
		if got, problems := decode(t, body, computeSchema); got != want || problems != "" {
			t.Errorf("%s: got %s %s", body, got, problems)
		}
	}
	if got, problems := decode(t, "", nil); got != "{}" || problems != "" {
		t.Errorf("got %s %s", got, problems)
	}
}

func TestDecodeBodyProblems(t *testing.T) {
	for body, want := range map[string]string{
		"":                                      `The argument "command" is required`,
		"comand = 1":                            `Did you mean "command"?`,
		"command = []\ncommand {}":              `Did you mean to define argument "command"?`,
		"command = [nothing]":                   `There is no variable named "nothing"`,
		"command = [upper()]":                   "Not enough function arguments",
		"command = 5":                           `"command" must be a list of strings`,
		"command = []\nnice = []":               `"nice" must be a number`,
		"command = []\nlimits = [{}]":           `must be a list of values that are each an object: element 0: attribute "name" is required`,
		"command = []\nextra = capsule":         "cannot be written as JSON",
		"command = []\nnice = 1 / 0":            "infinite",
		"command = []\nlabels = { a = [] }":     `"labels" must be a map of strings`,
		"command = []\nlimits = [{nme = \"\"}]": `at [0]: there is no attribute "nme" here. Did you mean "name"?`,
	} {
		if got, problems := decode(t, body, computeSchema); got != "" || !strings.Contains(problems, want) || !strings.Contains(problems, "body.hcl:") {
			t.Errorf("%s: got %s\n%s\nwant %q", body, got, problems, want)
		}
	}
}
