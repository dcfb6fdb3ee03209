package scaffold_test

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/instarhq/instar/cmd/instar/scaffold"
	"github.com/instarhq/instar/core"
)

func TestWhatCannotBecomeAModuleWritesNothing(t *testing.T) {
	t.Parallel()
	good := scaffold.Options{Name: "acme", Kind: core.DriverCompute, SDK: scaffold.SDK{Version: "v1.2.3"}}
	for what, c := range map[string]struct {
		change func(*scaffold.Options)
		want   string
	}{
		"kind":             {func(o *scaffold.Options) { o.Kind = "storage" }, `no kind of driver "storage"`},
		"no name":          {func(o *scaffold.Options) { o.Name = "" }, "name"},
		"upper case":       {func(o *scaffold.Options) { o.Name = "Acme" }, "Acme"},
		"path as a name":   {func(o *scaffold.Options) { o.Name = "../acme" }, "../acme"},
		"module":           {func(o *scaffold.Options) { o.Module = "github.com/a b" }, "no path of a Go module"},
		"module goes up":   {func(o *scaffold.Options) { o.Module = "github.com/../x" }, "no path of a Go module"},
		"module's newline": {func(o *scaffold.Options) { o.Module = "a\nreplace x => y" }, "no path of a Go module"},
		"no sdk":           {func(o *scaffold.Options) { o.SDK = scaffold.SDK{} }, "no version of the sdk"},
		"sdk":              {func(o *scaffold.Options) { o.SDK.Version = "latest" }, `"latest" is no version`},
		"sdk's newline":    {func(o *scaffold.Options) { o.SDK.Replace = "x\ny" }, "cannot hold the path"},
		"parent":           {func(o *scaffold.Options) { o.Dir = filepath.Join(o.Dir, "none", "acme") }, "no such file"},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			parent := t.TempDir()
			o := good
			o.Dir = filepath.Join(parent, "acme")
			c.change(&o)
			_, err := scaffold.Write(o)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
			if left, err := os.ReadDir(parent); err != nil || len(left) > 0 {
				t.Errorf("%v was left, %v", left, err)
			}
		})
	}
}

func TestADirectoryWithSomethingInItIsLeftAlone(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "acme")
	o := scaffold.Options{Name: "acme", Kind: core.DriverMetrics, Dir: dir, SDK: scaffold.SDK{Version: "v1.2.3"}}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := scaffold.Write(o); err != nil {
		t.Fatalf("an empty directory: %v", err)
	}
	before := tree(t, dir)
	_, err := scaffold.Write(o)
	if e, ok := core.AsError(err); !ok || e.Code != core.CodeConflict || !strings.Contains(e.Message, "not empty") {
		t.Errorf("error %v, want a conflict", err)
	}
	if after := tree(t, dir); !slices.Equal(after, before) {
		t.Errorf("the directory has changed: %v, it had %v", after, before)
	}
}

// What is written says nothing of the machine that it was written on, and belongs to a module of any name.
func TestGeneratedFiles(t *testing.T) {
	t.Parallel()
	for _, kind := range scaffold.Kinds {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "driver")
			names, err := scaffold.Write(scaffold.Options{
				Name: "acme", Kind: kind, Module: "github.com/acme/instar-driver", Dir: dir, SDK: scaffold.SDK{Version: "v1.2.3"},
			})
			if err != nil {
				t.Fatal(err)
			}
			if got := tree(t, dir); !slices.Equal(got, names) {
				t.Errorf("Write says %v, there are %v", names, got)
			}
			for _, name := range names {
				data, err := os.ReadFile(filepath.Join(dir, name))
				if err != nil {
					t.Fatal(err)
				}
				text := string(data)
				if strings.Contains(text, filepath.Dir(dir)) || strings.Contains(text, "[[") || strings.Contains(text, "<no value>") {
					t.Errorf("%s has a path of this machine, or an unfilled template:\n%s", name, text)
				}
				if lines := strings.Count(text, "\n"); lines > 300 {
					t.Errorf("%s has %d lines", name, lines)
				}
			}
			for _, want := range []string{"README.md", ".github/workflows/ci.yml", ".github/workflows/release.yml", ".goreleaser.yml", "ci.sh", "go.sum", "driver_test.go"} {
				if !slices.Contains(names, want) {
					t.Errorf("there is no %s", want)
				}
			}
			mod := read(t, filepath.Join(dir, "go.mod"))
			if !strings.Contains(mod, "module github.com/acme/instar-driver\n") || !strings.Contains(mod, "sdk v1.2.3\n") || strings.Contains(mod, "replace") {
				t.Errorf("go.mod is\n%s", mod)
			}
			if release := read(t, filepath.Join(dir, ".goreleaser.yml")); !strings.Contains(release, "owner: acme\n    name: instar-driver\n") {
				t.Errorf(".goreleaser.yml is\n%s", release)
			}
			if info, err := os.Stat(filepath.Join(dir, "ci.sh")); err != nil || info.Mode().Perm()&0o111 == 0 {
				t.Errorf("ci.sh: %v, %v", info, err)
			}
		})
	}
}

// The templates require what the sdk requires: a driver that is made from them needs no network to be built
// where the sdk was.
func TestRequirementsAreThoseOfTheSDK(t *testing.T) {
	t.Parallel()
	if got, want := read(t, "templates/common/go.sum.tmpl"), read(t, "../../../sdk/go.sum"); got != want {
		t.Error("templates/common/go.sum.tmpl is not sdk/go.sum any more: copy it")
	}
	requirement := regexp.MustCompile(`(?m)^\s+([\w.-]+\.[\w.-]+/\S+) (v\S+)`)
	of := func(path string) map[string]string {
		out := map[string]string{}
		for _, m := range requirement.FindAllStringSubmatch(read(t, path), -1) {
			out[m[1]] = m[2]
		}
		return out
	}
	sdk := of("../../../sdk/go.mod")
	template := of("templates/common/go.mod.tmpl")
	if len(template) < 10 {
		t.Fatalf("the template requires only %v", template)
	}
	for module, version := range template {
		if module != "github.com/instarhq/instar/sdk" && sdk[module] != version {
			t.Errorf("templates/common/go.mod.tmpl requires %s %s, the sdk %s", module, version, sdk[module])
		}
	}
}

// tree lists the files below a directory, sorted.
func tree(t *testing.T, dir string) []string {
	t.Helper()
	var names []string
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, path)
		names = append(names, name)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	return names
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// run runs a program in a module, without any network, and with one way to compile for all that it builds: each other
// one would compile the sdk and all that it needs once more.
func run(t *testing.T, dir, program string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOPROXY=off", "GOFLAGS=-mod=mod -trimpath '-ldflags=-s -w'", "GOWORK=off", "CGO_ENABLED=0")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", program, strings.Join(args, " "), err, out)
	}
	return string(out)
}
