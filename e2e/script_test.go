package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/instarhq/instar/core/api/client"
)

// TestScripts runs the client as people do, each script of testdata/script against a daemon of its own. The
// environment has SHOP, the arguments that apply the shop; "exits N command…" wants an exit code.
func TestScripts(t *testing.T) {
	t.Parallel()
	scripts, err := filepath.Glob("testdata/script/*.txtar")
	if err != nil || len(scripts) == 0 {
		t.Fatalf("scripts %v, error %v", scripts, err)
	}
	for _, script := range scripts {
		name := strings.TrimSuffix(filepath.Base(script), ".txtar")
		t.Run(name, func(t *testing.T) {
			c := newCluster(t)
			spec, err := filepath.Abs("testdata/shop.hcl")
			if err != nil {
				t.Fatal(err)
			}
			testscript.Run(t, testscript.Params{
				Files: []string{script}, RequireExplicitExec: true,
				Setup: func(e *testscript.Env) error {
					e.Setenv("PATH", built.bin+string(os.PathListSeparator)+os.Getenv("PATH"))
					e.Setenv(client.EnvAddress, c.node.Address)
					e.Setenv("GORACE", os.Getenv("GORACE"))
					e.Setenv("SPEC", spec)
					for name, value := range map[string]string{"artifact": built.shop, "births": c.births.url, "listen": c.listen} {
						e.Setenv("INSTAR_VAR_"+name, value)
					}
					return nil
				},
				Cmds: map[string]func(*testscript.TestScript, bool, []string){"exits": exits},
			})
		})
	}
}

// exits runs a command and wants its exit code: exits 2 instar plan …
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND…")
	}
	got := "0"
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		got = strings.TrimPrefix(fmt.Sprint(err), "exit status ")
	}
	if got != args[0] {
		ts.Fatalf("exit code %s, want %s", got, args[0])
	}
}
