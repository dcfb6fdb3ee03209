package spec_test

import (
	"testing"

	"github.com/instarhq/instar/core/spec"
)

// TestExamples keeps the examples of the repository valid.
func TestExamples(t *testing.T) {
	for example, variables := range map[string]map[string]string{
		"../../examples/shop":  {"version": "1"},
		"../../examples/hello": nil,
	} {
		sources, diags := spec.Load([]string{example})
		if diags.HasErrors() {
			t.Fatal(text(t, diags, sources.Files()))
		}
		set, diags := sources.Evaluate(spec.Options{Variables: variables, Schemas: testDrivers})
		if len(diags) > 0 {
			t.Errorf("%s:\n%s", example, text(t, diags, sources.Files()))
		}
		if len(set.Services) == 0 {
			t.Errorf("%s declares no service", example)
		}
	}
}
