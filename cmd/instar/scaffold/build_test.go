package scaffold_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/instarhq/instar/cmd/instar/scaffold"
)

// Each kind builds, is formatted and vetted, has no requirement too many, and passes its own test, which is the
// conformance suite: as a module outside of this repository, without any network.
func TestGeneratedModules(t *testing.T) {
	t.Parallel()
	sdk, err := filepath.Abs("../../../sdk")
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range scaffold.Kinds {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "driver")
			_, err := scaffold.Write(scaffold.Options{Name: "acme", Kind: kind, Dir: dir, SDK: scaffold.SDK{Replace: sdk}})
			if err != nil {
				t.Fatal(err)
			}
			if unformatted := run(t, dir, "gofmt", "-l", "."); unformatted != "" {
				t.Errorf("gofmt would change %s", unformatted)
			}
			run(t, dir, "go", "mod", "tidy", "-diff")
			run(t, dir, "go", "vet", "./...")
			if out := run(t, dir, "go", "test", "-count=1", "-v", "./..."); !strings.Contains(out, " 0 failed") {
				t.Errorf("the conformance suite did not run:\n%s", out)
			}
		})
	}
}
