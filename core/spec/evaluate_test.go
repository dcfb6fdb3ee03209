package spec_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/spec"
)

// write makes a directory of files and returns it.
func write(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// text gives diagnostics as a person sees them.
func text(t testing.TB, diags hcl.Diagnostics, files map[string]*hcl.File) string {
	t.Helper()
	var b strings.Builder
	if err := spec.Format(&b, diags, files, false, 0); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// evaluate evaluates one file, given as text, and fails on errors.
func evaluate(t testing.TB, source string, opts spec.Options) core.Set {
	t.Helper()
	set, sources, diags := tryEvaluate(t, source, opts)
	if diags.HasErrors() {
		t.Fatalf("unexpected errors:\n%s", text(t, diags, sources.Files()))
	}
	return set
}

func tryEvaluate(t testing.TB, source string, opts spec.Options) (core.Set, *spec.Sources, hcl.Diagnostics) {
	t.Helper()
	dir := write(t, map[string]string{"set.hcl": source})
	sources, diags := spec.Load([]string{dir})
	if diags.HasErrors() {
		return core.Set{}, sources, diags
	}
	if opts.Schemas == nil {
		opts.Schemas = testDrivers
	}
	set, diags := sources.Evaluate(opts)
	return set, sources, diags
}

func TestEvaluateEverything(t *testing.T) {
	sources, diags := spec.Load([]string{"testdata/full"})
	if diags.HasErrors() {
		t.Fatal(text(t, diags, sources.Files()))
	}
	set, diags := sources.Evaluate(spec.Options{Variables: map[string]string{"version": "7"}, Schemas: testDrivers})
	if diags.HasErrors() {
		t.Fatal(text(t, diags, sources.Files()))
	}
	got, err := json.MarshalIndent(set, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	cwd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "testdata/full.json", strings.ReplaceAll(string(got), cwd, "/CWD")+"\n")
	if err := spec.Validate(set, testDrivers); err != nil {
		t.Errorf("what Evaluate accepts, Validate refuses: %v", err)
	}
}

func TestEvaluateTwiceIsTheSame(t *testing.T) {
	sources, diags := spec.Load([]string{"testdata/full"})
	if diags.HasErrors() {
		t.Fatal(text(t, diags, sources.Files()))
	}
	opts := spec.Options{Variables: map[string]string{"version": "7"}, Schemas: testDrivers}
	first, _ := sources.Evaluate(opts)
	second, diags := sources.Evaluate(opts)
	if diags.HasErrors() {
		t.Fatal(text(t, diags, sources.Files()))
	}
	a, _ := core.DigestJSON(first)
	b, _ := core.DigestJSON(second)
	if a != b {
		t.Errorf("the second evaluation gives another set")
	}
}

func readTestFile(t testing.TB, file, before string) string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return before + string(data)
}
