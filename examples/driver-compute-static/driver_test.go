package main_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/instarhq/instar/sdk/verify"
)

// TestConformance is all that a driver needs as its test: build it, and let the sdk verify it.
func TestConformance(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "instar-compute-static")
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", binary, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0") // as it is released
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	site := t.TempDir()
	if err := os.WriteFile(filepath.Join(site, "index.html"), []byte("<h1>hello</h1>"), 0o600); err != nil {
		t.Fatal(err)
	}
	report, err := verify.Run(t.Context(), binary, verify.Options{
		Workload: json.RawMessage(`{"headers": {"X-Instance": "${instance.id}"}}`),
		Artifact: site, Missing: filepath.Join(site, "nothing"), Ports: []string{"http"}, Mounts: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	var table bytes.Buffer
	if err := report.Table(&table); err != nil {
		t.Fatal(err)
	}
	t.Log(table.String())
	if !report.OK() {
		t.Error("the driver does not keep its contract")
	}
}
