package scaffold_test

import (
	"encoding/xml"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/instarhq/instar/cmd/instar/scaffold"
)

// Each kind builds, is formatted and vetted, has no requirement too many, and passes its own test, which is the
// conformance suite: as a module outside of this repository, without any network. Then the commands of its README
// do what the README says, with those checks again that show that they have what they need.
func TestGeneratedModules(t *testing.T) {
	t.Parallel()
	sdk, err := filepath.Abs("../../../sdk")
	if err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	run(t, "..", "go", "build", "-o", filepath.Join(bin, "instar"), ".")
	for _, kind := range scaffold.Kinds {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "driver")
			_, err := scaffold.Write(scaffold.Options{Name: "acme", Kind: kind, Dir: dir, SDK: scaffold.SDK{Replace: sdk}})
			if err != nil {
				t.Fatal(err)
			}
			run(t, dir, "go", "mod", "tidy", "-diff")
			// Without CI the script does without the linters; `make lint` runs them.
			run(t, dir, "env", "-u", "CI", "./ci.sh")
			checkReport(t, filepath.Join(dir, "build", "conformance.xml"))
			out := run(t, dir, "env", "PATH="+bin+":"+os.Getenv("PATH"), "bash", "-euc", tryIt(t, dir))
			if !strings.Contains(out, "VERIFIED "+string(kind)+` driver "acme" 0.1.0: `) || !strings.Contains(out, " 0 failed,") {
				t.Errorf("the README's commands print\n%s", out)
			}
		})
	}
}

// checkReport wants a JUnit report of many checks, and no failure.
func checkReport(t *testing.T, path string) {
	t.Helper()
	var suite struct {
		Tests    int        `xml:"tests,attr"`
		Failures int        `xml:"failures,attr"`
		Cases    []struct{} `xml:"testcase"`
	}
	if err := xml.Unmarshal([]byte(read(t, path)), &suite); err != nil || suite.Failures != 0 || suite.Tests < 15 || len(suite.Cases) != suite.Tests {
		t.Errorf("%s: %+v, %v", path, suite, err)
	}
}

// showing are the checks that need what the README's commands give; the module's own test has run them all.
const showing = "^(process/|describe/complete|create/same-id-once|fetch/idempotent|destroy/exited|switch/new-requests-follow|query/)"

// tryIt is the commands under the README's "Try it", but the one that installs onto this machine.
func tryIt(t *testing.T, dir string) string {
	t.Helper()
	_, rest, _ := strings.Cut(read(t, filepath.Join(dir, "README.md")), "## Try it\n\n```\n")
	script, _, ok := strings.Cut(rest, "```")
	before, install, found := strings.Cut(script, "instar driver install ")
	if !ok || !found || strings.Count(install, "\n") != 1 {
		t.Fatalf("the README's commands are\n%s", script)
	}
	return strings.Replace(before, "driver verify ", "driver verify -run '"+showing+"' ", 1)
}
