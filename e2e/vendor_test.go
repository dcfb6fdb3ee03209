package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/instarhq/instar/e2e/node"
)

// vendorEnv is how a vendor builds, without a network: a driver as it is released, and with one way to compile for all of
// them, as each other one would compile the sdk and all that it needs once more.
func vendorEnv() []string {
	return append(os.Environ(), "GOPROXY=off", "GOWORK=off", "CGO_ENABLED=0", "GOFLAGS=-trimpath '-ldflags=-s -w'")
}

// vendorDriver builds examples/driver-compute-static as a vendor would: outside of the repository, as a
// module of its own, which requires the sdk and nothing else of instar.
func vendorDriver(t *testing.T) string {
	t.Helper()
	module := t.TempDir()
	if err := os.CopyFS(module, os.DirFS("../examples/driver-compute-static")); err != nil {
		t.Fatal(err)
	}
	edit := exec.Command("go", "mod", "edit", "-replace", "github.com/instarhq/instar/sdk="+filepath.Join(built.repository, "sdk"))
	edit.Dir = module
	if out, err := edit.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	binary := filepath.Join(module, "bin", "instar-compute-static")
	build := exec.Command("go", "build", "-o", binary, ".")
	build.Dir, build.Env = module, vendorEnv()
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the vendor's driver: %v\n%s", err, out)
	}
	list := exec.Command("go", "list", "-deps", ".")
	list.Dir, list.Env = module, vendorEnv()
	deps, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	for dep := range strings.FieldsSeq(string(deps)) {
		if strings.HasPrefix(dep, "github.com/instarhq/instar") && !strings.HasPrefix(dep, "github.com/instarhq/instar/sdk") {
			t.Errorf("the vendor's driver depends on %s", dep)
		}
	}
	return binary
}

// TestVendorDriver: a driver from outside of the repository is found, verified, documented and used, and an
// instance of it survives the daemon.
func TestVendorDriver(t *testing.T) {
	t.Parallel()
	binary := vendorDriver(t)
	config := filepath.Join(t.TempDir(), "instard.hcl")
	if err := os.WriteFile(config, []byte(fmt.Sprintf(vendorConfig, filepath.Dir(binary))), 0o600); err != nil {
		t.Fatal(err)
	}
	c := startCluster(t, node.Options{Config: config}, func(dataDir string) {
		// Not one of the bundled drivers, so the operator says that it may run.
		if err := node.Lock(t.Context(), built.bin, dataDir, binary); err != nil {
			t.Fatal(err)
		}
	})
	if out := c.must("driver", "list"); !strings.Contains(out, "static") {
		t.Errorf("driver list does not have it:\n%s", out)
	}
	if out := c.must("driver", "docs", "static"); !strings.Contains(out, "headers") {
		t.Errorf("driver docs does not document it:\n%s", out)
	}
	site := t.TempDir()
	if err := os.WriteFile(filepath.Join(site, "index.html"), []byte("hello from a vendor"), 0o600); err != nil {
		t.Fatal(err)
	}
	out := c.must("driver", "verify", "-artifact", site, "-missing", site+".not", "-port", "http", binary)
	if !strings.Contains(out, "create/same-id-once-after-restart") {
		t.Errorf("driver verify does not name its checks:\n%s", out)
	}
	spec := filepath.Join(t.TempDir(), "docs.hcl")
	if err := os.WriteFile(spec, []byte(fmt.Sprintf(vendorSpec, site, c.listen)), 0o600); err != nil {
		t.Fatal(err)
	}
	c.must("apply", "-yes", spec)
	if got := fetch(t, "http://"+c.listen+"/"); got != "hello from a vendor" {
		t.Errorf("the page shows %q", got)
	}
	wrong := strings.Replace(fmt.Sprintf(vendorSpec, site, c.listen), "headers", "heders", 1)
	if err := os.WriteFile(spec, []byte(wrong), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, out := c.instar("apply", "-yes", spec); code != 1 || !strings.Contains(out, "docs.hcl:5") || !strings.Contains(out, "heders") {
		t.Errorf("an attribute that the driver does not have: exit code %d, want 1 and the place\n%s", code, out)
	}
	if err := c.node.Kill(); err != nil {
		t.Fatal(err)
	}
	if got := fetch(t, "http://"+c.listen+"/"); got != "hello from a vendor" {
		t.Errorf("without the daemon the page shows %q", got)
	}
	if err := c.node.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
}

const vendorConfig = `
cluster     = "vendor"
plugin_dirs = [%q]
node { name = "n1" }
compute "process" "local" {}
compute "static" "vendor" {}
traffic "proxy" "local" {}
`

const vendorSpec = `
service "docs" {
  count = 2
  artifact { source = %q }
  compute "static" { headers = { "X-Vendor" = "of ${instance.id}" } }
  port "http" {}
  health "http" {
    path        = "/"
    interval    = "200ms"
    healthy_for = "400ms"
  }
  route "docs" { listen = %q }
  rollout { bake = "0s" }
}
`
