package imports

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// list returns all packages of a module of this repository with their dependencies.
func list(t *testing.T, module string) []Package {
	t.Helper()
	cmd := exec.Command("go", "list", "-deps", "-json=ImportPath,Standard,Imports,Deps", "./...")
	cmd.Dir = module
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var all []Package
	for decoder := json.NewDecoder(out); ; {
		var p Package
		err := decoder.Decode(&p)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	return all
}

func TestImportRules(t *testing.T) {
	for _, module := range []string{"../..", "../../sdk"} {
		all := list(t, module)
		if len(all) < 50 {
			t.Fatalf("%s: go list found %d packages only", module, len(all))
		}
		for _, violation := range Check(all, Rules) {
			t.Error(violation)
		}
	}
}

// Each rule is about packages that exist: one that has moved away would be held to nothing.
func TestRulesHoldSomething(t *testing.T) {
	all := append(list(t, "../.."), list(t, "../../sdk")...)
	for _, rule := range Rules {
		for _, pattern := range rule.Of {
			pattern = strings.TrimPrefix(pattern, "!")
			if !slices.ContainsFunc(all, func(p Package) bool { return matches(pattern, p.ImportPath) }) {
				t.Errorf("no package matches %s (%s)", pattern, rule.Reason)
			}
		}
	}
}

// Deterministic packages may use the types of package time, never the clock.
func TestNoClock(t *testing.T) {
	for _, folder := range []string{"core", "core/rollout", "core/place", "raftstore/fsm"} {
		uses, err := ClockUses(filepath.Join("../..", folder))
		if err != nil {
			t.Error(err)
		}
		for _, use := range uses {
			t.Errorf("%s: %s is deterministic and may not read the clock: the time comes in with the call", use, folder)
		}
	}
}

// The checks themselves find what they are there for.
func TestCheckFindsViolations(t *testing.T) {
	all := []Package{
		{ImportPath: root + "/core", Imports: []string{"fmt", "example.org/x"}, Deps: []string{"fmt", "example.org/x"}},
		{ImportPath: root + "/core/state", Deps: []string{root + "/raftstore"}},
		{ImportPath: root + "/core/daemon", Deps: []string{root + "/raftstore"}},
		{ImportPath: root + "/core/rollout", Imports: []string{"os"}, Deps: []string{"os", root + "/core"}},
		{ImportPath: root + "/plugins/compute/x", Deps: []string{root + "/core/state"}},
		{ImportPath: root + "/raftstore/fsm", Imports: []string{"net/http"}},
		{ImportPath: root + "/cmd/instar", Deps: []string{root + "/core", root + "/core/agent"}},
		{ImportPath: root + "/core/util"},
		{ImportPath: root + "/corejunk", Deps: []string{"example.org/x"}},
		{ImportPath: "example.org/x/util", Deps: []string{root + "/core"}},
		{ImportPath: "fmt", Standard: true},
		{ImportPath: "os", Standard: true},
		{ImportPath: "net/http", Standard: true},
	}
	want := []string{
		"core reaches example.org/x", "core/state reaches raftstore", "core/rollout reaches os",
		"plugins/compute/x reaches core/state", "raftstore/fsm reaches net/http", "cmd/instar reaches core/agent",
		"core/util: a package",
	}
	var got []string
	for _, v := range Check(all, Rules) {
		got = append(got, strings.ReplaceAll(v.String(), root+"/", ""))
	}
	for _, w := range want {
		if !slices.ContainsFunc(got, func(g string) bool { return strings.HasPrefix(g, w) }) {
			t.Errorf("not found: %s", w)
		}
	}
	if len(got) != len(want) {
		t.Errorf("found\n%s\nwant %d violations", strings.Join(got, "\n"), len(want))
	}
}

func TestClockUsesFindsThem(t *testing.T) {
	folder := t.TempDir()
	source := "package x\nimport clock \"time\"\nvar a = clock.Now\nvar b = clock.Second\nfunc c() { <-clock.After(b) }\n"
	if err := os.WriteFile(filepath.Join(folder, "x.go"), []byte(source), 0o600); err != nil {
		t.Fatal(err)
	}
	uses, err := ClockUses(folder)
	if err != nil || len(uses) != 2 || !strings.HasSuffix(uses[0], "x.go:3:9") {
		t.Errorf("uses %v, error %v, want Now in line 3 and After in line 5", uses, err)
	}
	if _, err := ClockUses(t.TempDir()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a folder without Go files: error %v", err)
	}
}
