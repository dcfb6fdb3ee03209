package spec_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/instarhq/instar/core/spec"
)

// TestDiagnostics evaluates what is wrong in every way and compares what an operator gets to see.
func TestDiagnostics(t *testing.T) {
	files, err := filepath.Glob("testdata/bad/*.hcl")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			sources, diags := spec.Load([]string{file})
			if !diags.HasErrors() {
				_, diags = sources.Evaluate(spec.Options{Schemas: testDrivers})
			}
			if !diags.HasErrors() {
				t.Fatal("there is no error")
			}
			got := text(t, diags, sources.Files())
			dir, err := filepath.Abs("testdata/bad")
			if err != nil {
				t.Fatal(err)
			}
			golden(t, strings.TrimSuffix(file, ".hcl")+".txt", strings.ReplaceAll(got, dir, "/DIR"))
			for _, d := range spec.Diagnostics(diags) {
				if d.File == "" || d.Line == 0 || d.Column == 0 {
					t.Errorf("it is about no place: %+v", d)
				}
			}
		})
	}
}
