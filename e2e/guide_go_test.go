package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestDriverGuide: from an empty directory to a driver in Go that runs a service, as the guide says.
func TestDriverGuide(t *testing.T) {
	t.Parallel()
	g := newGuide(t)
	g.follow("In Go", 12)
	var suite string
	if data, err := os.ReadFile(filepath.Join(g.dir, "instar-compute-greeter", "build", "verify.xml")); err == nil {
		suite = string(data)
	}
	if !strings.Contains(suite, "<testcase") {
		t.Errorf("the JUnit report is %q", suite)
	}
}
