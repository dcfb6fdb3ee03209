package spec_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2"

	"github.com/instarhq/instar/core/spec"
)

// TestDocumentation keeps the examples of docs/spec.md valid, and its list of functions complete.
func TestDocumentation(t *testing.T) {
	page, err := os.ReadFile("../../docs/spec.md")
	if err != nil {
		t.Fatal(err)
	}
	examples := regexp.MustCompile("(?s)```hcl\n(.*?)```").FindAllStringSubmatch(string(page), -1)
	if len(examples) < 6 {
		t.Fatalf("only %d examples are found", len(examples))
	}
	for _, example := range examples {
		file, diags := spec.Parse([]byte(example[1]), "spec.md")
		if diags.HasErrors() {
			t.Error(text(t, diags, map[string]*hcl.File{"spec.md": file}))
		}
	}
	dir := write(t, map[string]string{"set.hcl": examples[0][1], "site.conf": "x"})
	sources, diags := spec.Load([]string{dir})
	if !diags.HasErrors() {
		_, diags = sources.Evaluate(spec.Options{Schemas: testDrivers, Variables: map[string]string{"version": "1"}})
	}
	if len(diags) > 0 {
		t.Error(text(t, diags, sources.Files()))
	}
	for name := range spec.Functions(".") {
		if !strings.Contains(string(page), "`"+name+"`") && !strings.Contains(string(page), "`"+name+"(") {
			t.Errorf("the function %s is not documented", name)
		}
	}
}
