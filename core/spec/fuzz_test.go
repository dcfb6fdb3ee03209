package spec_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/spec"
)

// FuzzEvaluate: no file makes Load, Evaluate, the checks or Format panic, and what Evaluate accepts the
// server accepts too.
func FuzzEvaluate(f *testing.F) {
	seeds, err := filepath.Glob("testdata/*/*.hcl")
	if err != nil || len(seeds) == 0 {
		f.Fatal("no seeds", err)
	}
	for _, file := range append(seeds, "../../examples/shop/shop.hcl") {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte(good + declarations))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, data []byte) {
		file := filepath.Join(dir, "fuzz.hcl")
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
		sources, diags := spec.Load([]string{file})
		_ = text(t, diags, sources.Files())
		sources.LimitWork(1 << 20)
		set, diags := sources.Evaluate(spec.Options{Schemas: testDrivers, Variables: map[string]string{"version": "1"}})
		_ = text(t, diags, sources.Files())
		if diags.HasErrors() {
			return
		}
		if err := spec.Validate(set, testDrivers); err != nil {
			t.Fatalf("Evaluate accepts what Validate refuses: %v", err)
		}
		for i := range set.Services {
			_ = spec.Diff(nil, &set.Services[i].Spec, spec.Sensitive(testDrivers, &set.Services[i].Spec))
		}
	})
}

// FuzzDecodeBody: no body makes DecodeBody panic, and what it accepts conforms to the schema.
func FuzzDecodeBody(f *testing.F) {
	for _, seed := range []string{
		"command = []", "command = [\"a\", 1, true, null]\nlabels = { a = 1 }", "command = [x]\nlimits = [{ name = \"a\", soft = 1 / 3 }]",
		"command = x.y[0].z\nextra = { for a in [1] : a => a... }", "command {}\nuser = \"${1e300}%{if true}x%{endif}\"", "extra = <<EOT\nx\nEOT\n",
		"command = x[*].a\nnice = -\"5\"",
	} {
		f.Add([]byte(seed))
	}
	ctx := &hcl.EvalContext{Variables: map[string]cty.Value{
		"x": cty.ObjectVal(map[string]cty.Value{"y": cty.UnknownVal(cty.String), "z": cty.StringVal("z").Mark("secret")}),
	}}
	f.Fuzz(func(t *testing.T, data []byte) {
		file, diags := spec.Parse(data, "fuzz.hcl")
		if diags.HasErrors() {
			return
		}
		config, diags := spec.DecodeBody(file.Body, computeSchema, ctx)
		if diags.HasErrors() != (config == nil) {
			t.Fatalf("both a result and errors, or neither: %s, %v", config, diags)
		}
		if config == nil {
			return
		}
		set := core.Set{Services: []core.Declared{{Name: "web", Spec: core.Spec{Compute: core.Compute{Driver: "process", Config: config}}}}}
		spec.Normalise(&set.Services[0])
		if got := set.Services[0].Spec.Compute.Config; string(got) != string(config) {
			t.Fatalf("not canonical: %s, normalised %s", config, got)
		}
	})
}
