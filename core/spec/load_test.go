package spec_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/instarhq/instar/core/spec"
)

func TestLoadProblems(t *testing.T) {
	dir := write(t, map[string]string{
		"empty/readme.txt": "x", "empty/.hidden.hcl": "!", "empty/sub.hcl/x": "x", "latin.hcl": "a = 1\n# caf\xe9\n",
	})
	big := filepath.Join(dir, "big.hcl")
	if err := os.WriteFile(big, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(big, spec.MaxFileBytes+1); err != nil {
		t.Fatal(err)
	}
	pipe := filepath.Join(dir, "pipe.hcl")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		paths []string
		want  string
	}{
		"nothing":   {nil, "Name at least one file or directory"},
		"missing":   {[]string{filepath.Join(dir, "no.hcl")}, "no.hcl does not exist."},
		"empty dir": {[]string{filepath.Join(dir, "empty")}, "holds no *.hcl file"},
		"not utf-8": {[]string{filepath.Join(dir, "latin.hcl")}, "is not UTF-8 text: byte 11, on line 2"},
		"too big":   {[]string{big}, "has 4.0 MiB, at most 4 MiB are read"},
		"pipe":      {[]string{pipe}, "is not a regular file"},
		"device":    {[]string{"/dev/zero"}, "is not a regular file"},
		"below":     {[]string{filepath.Join(dir, "latin.hcl", "x")}, "not a directory"},
	} {
		t.Run(name, func(t *testing.T) {
			sources, diags := spec.Load(c.paths)
			if got := text(t, diags, sources.Files()); !diags.HasErrors() || !strings.Contains(got, c.want) {
				t.Errorf("got %s, want %q", got, c.want)
			}
		})
	}
}

func TestLoadTooMuchInAll(t *testing.T) {
	if diags := spec.LoadAfter(spec.MaxSetBytes - 10); diags.HasErrors() {
		t.Errorf("the limit itself is allowed: %v", diags)
	}
	if got := text(t, spec.LoadAfter(spec.MaxSetBytes), nil); !strings.Contains(got, "Up to last.hcl the files have more than 32 MiB in all") {
		t.Errorf("got %s", got)
	}
}

func TestLoadMakesOneSet(t *testing.T) {
	dir := write(t, map[string]string{
		"b.hcl":     "service \"b\" {\n compute \"docker\" {}\n env = { X = local.x }\n}\n",
		"a.hcl":     "locals {\n x = file(\"x.txt\")\n}\n",
		"x.txt":     "of the first",
		"sub/c.hcl": "service \"c\" {\n compute \"docker\" {}\n env = { X = file(\"x.txt\") }\n artifact {\n source = \"../app\"\n }\n}\n",
		"sub/x.txt": "of the second",
	})
	t.Chdir(t.TempDir())
	sources, diags := spec.Load([]string{dir, filepath.Join(dir, "a.hcl"), filepath.Join(dir, "sub", "c.hcl")})
	if diags.HasErrors() {
		t.Fatal(text(t, diags, sources.Files()))
	}
	set, diags := sources.Evaluate(spec.Options{Schemas: testDrivers})
	if diags.HasErrors() || len(set.Services) != 2 {
		t.Fatalf("%d services\n%s", len(set.Services), text(t, diags, sources.Files()))
	}
	b, c := set.Services[0].Spec, set.Services[1].Spec
	if b.Env["X"] != "of the first" || c.Env["X"] != "of the second" {
		t.Errorf("file() reads beside another file: %q, %q", b.Env["X"], c.Env["X"])
	}
	if want := filepath.Join(dir, "app"); c.Artifact.Source != want {
		t.Errorf("artifact %q, want %q", c.Artifact.Source, want)
	}
	if content, diags := sources.Body().JustAttributes(); len(content) > 0 || !diags.HasErrors() {
		t.Errorf("the merged body has no blocks")
	}
}

func TestLoadStdin(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	old := os.Stdin
	os.Stdin = r
	t.Cleanup(func() { os.Stdin = old })
	if _, err := w.WriteString("service \"a\" {\n compute \"docker\" {}\n artifact {\n source = \"./x\"\n }\n count = -1\n}\n"); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	sources, diags := spec.Load([]string{"-", "-"})
	if diags.HasErrors() {
		t.Fatal(text(t, diags, sources.Files()))
	}
	_, diags = sources.Evaluate(spec.Options{Schemas: testDrivers})
	if got := text(t, diags, sources.Files()); !strings.Contains(got, "<stdin>:6:10") {
		t.Errorf("got %s", got)
	}
}
